package mycelium.clients;

import java.util.HashMap;
import java.util.Map;
import kotlin.Unit;
import okhttp3.OkHttpClient;
import org.phoenixframework.Channel;
import org.phoenixframework.Defaults;
import org.phoenixframework.Socket;

/**
 * An application that says what it is sent while its connection is cut. compat_tests/js/recovery starts it; traveller.mjs reads the lines.
 */
public final class Recovery {
  private static final int LAST = 1000;
  private static final long SINCE_MS = 2000;

  public static void main(String[] args) {
    say(""); // ends what Maven may have begun
    String way = System.getenv("RECOVERY_WAY");
    Map<String, Object> connect = new HashMap<>();
    if (way.equals("session")) {
      connect.put("session", System.getenv("RECOVERY_SESSION"));
    }
    Socket socket = new Socket(System.getenv("RECOVERY_URL") + "/socket", connect, Defaults.VSN, Defaults.INSTANCE.getEncode(),
        Defaults.INSTANCE.getDecode(), new OkHttpClient());
    socket.setReconnectAfterMs(tries -> 20L);
    socket.setRejoinAfterMs(tries -> 20L);
    socket.setHeartbeatIntervalMs(1000);
    Channel channel = socket.channel(System.getenv("RECOVERY_TOPIC"), paramsOf(way));
    channel.on("history_mark", message -> {
      if (way.equals("after")) {
        channel.setParams(Map.of("history", Map.of("after", message.getPayload().get("pos"))));
      }
      return say("mark");
    });
    channel.on("history_state", message -> {
      Map<String, ?> state = message.getPayload();
      return say("state {\"recovered\":" + state.get("recovered") + ",\"reason\":\"" + state.get("reason") + "\"}");
    });
    channel.on("n", message -> {
      if (way.equals("since")) {
        channel.setParams(Map.of("history", Map.of("since", ((Number) message.getPayload().get("at")).longValue() - SINCE_MS)));
      }
      return say("n " + ((Number) message.getPayload().get("n")).longValue());
    });
    socket.connect();
    channel.join(3000);
  }

  private static Map<String, Object> paramsOf(String way) {
    switch (way) {
      case "after":
        return Map.of("history", Map.of());
      case "last":
      case "since": // until it has the first message
        return Map.of("history", Map.of("last", LAST));
      default:
        return Map.of();
    }
  }

  private static synchronized Unit say(String line) {
    System.out.println(line);
    return Unit.INSTANCE;
  }

  private Recovery() {}
}
