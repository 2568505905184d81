package mycelium.clients;

import static mycelium.clients.Lab.equal;
import static mycelium.clients.Lab.until;

import java.util.List;
import java.util.Map;
import org.phoenixframework.Message;

/** What a client does while nothing fails. */
final class Basics {
  static void addTo(Map<String, Main.Behaviour> behaviours) {
    behaviours.put("connect", Basics::connect);
    behaviours.put("connect refused", Basics::connectRefused);
    behaviours.put("join", Basics::join);
    behaviours.put("join refused", Basics::joinRefused);
    behaviours.put("push: ok, error, timeout", Basics::push);
    behaviours.put("push from the server", Basics::pushFromServer);
    behaviours.put("broadcast", Basics::broadcast);
    behaviours.put("broadcast_from", Basics::broadcastFrom);
    behaviours.put("binary", Basics::binary);
    behaviours.put("leave", Basics::leave);
    behaviours.put("channel stopped by the server", Basics::stopped);
  }

  private static String connect(Lab lab) {
    User user = lab.connect("/socket", Map.of("user_id", "java connects & more"));
    equal("connected", true, user.socket.isConnected());
    Message info = user.join("echo:java").push("connect_info", Map.of());
    equal("socket id", "users_socket:java connects & more", info.getPayload().get("id"));
    return null;
  }

  private static String connectRefused(Lab lab) {
    User user = lab.dial("/socket", Map.of("token", "bad"));
    until("the handshake is refused", () -> user.refusals.contains(403));
    equal("opened", 0, user.opens.get());
    return null;
  }

  private static String join(Lab lab) {
    User.Topic topic = lab.connect().join("echo:java", Map.of("name", "äöü \"quoted\" <&>"));
    equal("response", Map.of("you_sent", Map.of("name", "äöü \"quoted\" <&>")), topic.joins.get(0).getPayload());
    equal("joined", true, topic.channel.isJoined());
    topic.check();
    return null;
  }

  private static String joinRefused(Lab lab) {
    User.Topic topic = lab.connect().joining("echo:java", Map.of("deny", true));
    until("an answer", () -> !topic.joins.isEmpty());
    equal("status", "error", topic.joins.get(0).getStatus());
    equal("response", Map.of("reason", "denied"), topic.joins.get(0).getPayload());
    equal("joined", false, topic.channel.isJoined());
    until("the client tries again", () -> topic.joins.size() > 1);
    return null;
  }

  private static String push(Lab lab) {
    User.Topic topic = lab.connect().join("echo:java");
    Map<String, ?> payload = Map.of("list", List.of("a,b", "[c]"), "response", Map.of("nested", "yes"));
    Message ok = topic.push("echo", payload);
    equal("status", "ok", ok.getStatus());
    equal("payload", payload, ok.getPayload());
    Message error = topic.push("echo_error", Map.of("why", "asked for"));
    equal("status", "error", error.getStatus());
    equal("payload", Map.of("why", "asked for"), error.getPayload());
    equal("status", "timeout", topic.push("noreply", Map.of(), 300).getStatus());
    topic.check();
    return null;
  }

  private static String pushFromServer(Lab lab) {
    User.Topic topic = lab.connect().join("echo:java");
    topic.send("push_me", Map.of("n", "1"));
    until("the push", () -> topic.events.size() == 1);
    equal("event", "pushed", topic.events.get(0).getEvent());
    equal("payload", Map.of("n", "1"), topic.events.get(0).getPayload());
    return null;
  }

  private static String broadcast(Lab lab) {
    User.Topic sender = lab.connect().join("echo:java-broadcast");
    User.Topic other = lab.connect().join("echo:java-broadcast");
    sender.send("shout", Map.of("text", "to all"));
    for (User.Topic topic : List.of(sender, other)) {
      until("the broadcast", () -> topic.events.size() == 1);
      equal("event", "shout", topic.events.get(0).getEvent());
      equal("payload", Map.of("text", "to all"), topic.events.get(0).getPayload());
    }
    return null;
  }

  private static String broadcastFrom(Lab lab) {
    User.Topic sender = lab.connect().join("echo:java-from");
    User.Topic other = lab.connect().join("echo:java-from");
    sender.send("shout_from", Map.of("text", "to the others"));
    until("the broadcast", () -> other.events.size() == 1);
    sender.check(); // nothing may come before this answer
    equal("broadcasts to the sender", 0, sender.events.size());
    return null;
  }

  private static String binary(Lab lab) {
    User.Topic topic = lab.connect().join("echo:java");
    topic.send("bin_push", Map.of());
    topic.check(); // a frame of bytes does no harm
    equal("pushes of bytes", 0, topic.events.size());
    throw new Main.NotOffered("frames of bytes are ignored by this client");
  }

  private static String leave(Lab lab) {
    User user = lab.connect();
    User.Topic topic = user.join("echo:java-leave");
    User.Topic other = lab.connect().join("echo:java-leave");
    equal("status", "ok", topic.leave().getStatus());
    until("the channel is closed", () -> topic.channel.isClosed() && topic.closes.get() > 0);
    other.push("shout_reply", Map.of());
    user.join("echo:java").check();
    equal("broadcasts behind the leave", 0, topic.events.size());
    user.join("echo:java-leave").check();
    return null;
  }

  private static String stopped(Lab lab) {
    User user = lab.connect();
    User.Topic topic = user.join("echo:java-stop");
    equal("status", "ok", topic.push("stop_reply", Map.of()).getStatus());
    until("the channel is closed", () -> topic.channel.isClosed() && topic.closes.get() == 1);
    equal("errors", 0, topic.errors.get());
    user.join("echo:java-stop").check();
    equal("rejoins", 1, topic.joins.size());
    return null;
  }

  private Basics() {}
}
