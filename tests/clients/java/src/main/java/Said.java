import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import okhttp3.Request;

/** What a driver was asked for, and how it says what it hears; see tests/clients/__init__.py. */
final class Said {
  private static final Gson GSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();

  String url;
  Map<String, String> headers = new HashMap<>();
  String place;
  double seconds;
  boolean lines;

  static Said asked(String argument) {
    Said asked = GSON.fromJson(argument, Said.class);
    Thread timer = new Thread(() -> {
      try {
        Thread.sleep((long) (asked.seconds * 1000));
      } catch (InterruptedException ignored) {
        return;
      }
      Runtime.getRuntime().halt(0);
    });
    timer.setDaemon(true);
    timer.start();
    return asked;
  }

  Request.Builder request() {
    Request.Builder request = new Request.Builder().url(url);
    headers.forEach(request::header);
    return request;
  }

  static synchronized void say(String what, Object value) {
    System.out.println(GSON.toJson(Map.of(what, value)));
  }

  static synchronized void heard(String name, String data, String id) {
    Map<String, Object> event = new LinkedHashMap<>();
    event.put("event", name == null || name.isEmpty() ? "message" : name);
    event.put("data", data);
    event.put("id", id == null || id.isEmpty() ? null : id);
    System.out.println(GSON.toJson(event));
  }
}
