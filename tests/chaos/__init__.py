"""A campaign of faults: workers, Redis and the lines between them fail by chance while events flow.

    python -m chaos --seed 7 --minutes 2 --layout partitions

``plan`` says what will happen, from the seed alone; ``campaign`` lets it happen on real programs;
``record`` is what was seen, and ``verdict`` judges that.
"""
