import java.time.Duration;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.sse.EventSource;
import okhttp3.sse.EventSourceListener;
import okhttp3.sse.EventSources;

/** okhttp-sse reads one response; to come back is the application's part. */
public final class OkHttpSse {
  static OkHttpClient client = new OkHttpClient();

  public static void main(String[] arguments) throws InterruptedException {
    Said asked = Said.asked(arguments[0]);
    Listener listener = new Listener();
    if (!asked.lines) {
      listen(asked.request(), listener);
    } else {
      // lines
      client = client.newBuilder().readTimeout(Duration.ofSeconds(40)).build();
      listener.place = asked.place;
      listen(asked.request().header("Last-Event-ID", listener.place), listener);
      while (!listener.over) { // onClosed or onFailure has been called
        Thread.sleep(1000);
        listen(asked.request().header("Last-Event-ID", listener.place), listener);
      }
      // to here
    }
    Said.say("closed", true);
    System.exit(0);
  }

  private static void listen(Request.Builder request, Listener listener) throws InterruptedException {
    listener.ended = new CountDownLatch(1);
    EventSources.createFactory(client).newEventSource(request.build(), listener);
    listener.ended.await();
  }

  private static final class Listener extends EventSourceListener {
    String place;
    boolean over;
    CountDownLatch ended;

    @Override
    public void onOpen(EventSource source, Response response) {
      Said.say("open", true);
    }

    @Override
    public void onEvent(EventSource source, String id, String type, String data) {
      place = id == null ? place : id;
      Said.heard(type, data, id);
    }

    @Override
    public void onClosed(EventSource source) {
      ended.countDown();
    }

    @Override
    public void onFailure(EventSource source, Throwable error, Response response) {
      over = response != null && Set.of(204, 401, 403, 404).contains(response.code());
      Said.say("error", response == null ? error.toString() : "status " + response.code());
      ended.countDown();
    }
  }
}
