import com.launchdarkly.eventsource.ConnectStrategy;
import com.launchdarkly.eventsource.ErrorStrategy;
import com.launchdarkly.eventsource.EventSource;
import com.launchdarkly.eventsource.FaultEvent;
import com.launchdarkly.eventsource.HttpConnectStrategy;
import com.launchdarkly.eventsource.MessageEvent;
import com.launchdarkly.eventsource.StartedEvent;
import com.launchdarkly.eventsource.StreamEvent;
import com.launchdarkly.eventsource.StreamException;
import com.launchdarkly.eventsource.StreamHttpErrorException;
import java.net.URI;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/** LaunchDarkly's okhttp-eventsource throws at the first end, unless it is told to go on. */
public final class OkHttpEventSource {
  public static void main(String[] arguments) {
    Said asked = Said.asked(arguments[0]);
    HttpConnectStrategy connect = ConnectStrategy.http(URI.create(asked.url));
    for (var header : asked.headers.entrySet()) {
      connect = connect.header(header.getKey(), header.getValue());
    }
    EventSource.Builder builder = new EventSource.Builder(connect);
    if (asked.lines) {
      // lines
      connect = connect.readTimeout(40, TimeUnit.SECONDS);
      builder = new EventSource.Builder(connect).lastEventId(asked.place).errorStrategy(new ErrorStrategy() {
        @Override
        public Result apply(StreamException error) {
          boolean over = error instanceof StreamHttpErrorException refused
              && Set.of(204, 401, 403, 404).contains(refused.getCode());
          return new Result(over ? Action.THROW : Action.CONTINUE, null);
        }
      });
      // to here
    }
    try (EventSource source = builder.build()) {
      for (StreamEvent event : source.anyEvents()) {
        if (event instanceof StartedEvent) {
          Said.say("open", true);
        } else if (event instanceof MessageEvent message) {
          Said.heard(message.getEventName(), message.getData(), message.getLastEventId());
          if (asked.lines) {
            // lines
            if (message.getEventName().equals("edge-close") && message.getData().contains("finished")) {
              break; // a 204 is to it a stream that has ended
            }
            // to here
          }
        } else if (event instanceof FaultEvent fault) {
          Said.say("error", fault.getCause().toString());
        }
      }
    } catch (RuntimeException error) {
      Said.say("raised", error.toString());
    }
    Said.say("closed", true);
    System.exit(0);
  }
}
