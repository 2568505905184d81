package mycelium.clients;

import static mycelium.clients.Lab.equal;
import static mycelium.clients.Lab.until;

import java.util.Map;

/** What a client does when something ends or is in danger to. */
final class Failures {
  static void addTo(Map<String, Main.Behaviour> behaviours) {
    behaviours.put("crash and rejoin", Failures::crash);
    behaviours.put("duplicate join", Failures::duplicateJoin);
    behaviours.put("forced disconnect", Failures::forcedDisconnect);
    behaviours.put("dropped TCP", Failures::droppedTCP);
    behaviours.put("heartbeat", Failures::heartbeat);
  }

  private static String crash(Lab lab) {
    User user = lab.connect();
    User.Topic topic = user.join("echo:java-crash");
    topic.send("crash", Map.of());
    until("the client rejoins", () -> topic.errors.get() == 1 && topic.joins.size() == 2);
    equal("answer to the rejoin", "ok", topic.joins.get(1).getStatus());
    topic.check();
    equal("closed connections", 0, user.closes.get());
    return null;
  }

  private static String duplicateJoin(Lab lab) {
    User user = lab.connect();
    User.Topic first = user.join("echo:java-twice");
    User.Topic second = user.join("echo:java-twice");
    until("the first is closed", () -> first.channel.isClosed() && first.closes.get() > 0);
    second.send("shout", Map.of());
    until("the broadcast", () -> second.events.size() == 1);
    second.check();
    equal("broadcasts", 1, second.events.size());
    equal("broadcasts to the first", 0, first.events.size());
    equal("closes of the second", 0, second.closes.get());
    return "the client leaves the first channel by itself";
  }

  private static String forcedDisconnect(Lab lab) {
    User user = lab.connect("/socket", Map.of("user_id", "java-forced"));
    User.Topic topic = user.join("echo:java-forced");
    User.Topic operator = lab.connect().join("echo:java-operator");
    operator.push("disconnect_user", Map.of("id", "java-forced"));
    rejoined(user, topic);
    operator.check();
    return null;
  }

  private static String droppedTCP(Lab lab) {
    User user = lab.connectThroughProxy();
    User.Topic topic = user.join("echo:java-dropped");
    lab.cutProxy();
    rejoined(user, topic);
    return null;
  }

  private static void rejoined(User user, User.Topic topic) {
    until("the connection ends", () -> user.closes.get() > 0);
    until("another opens", () -> user.opens.get() == 2);
    until("the client rejoins", () -> topic.joins.size() == 2);
    equal("answer to the rejoin", "ok", topic.joins.get(1).getStatus());
    topic.check();
  }

  /**
   * The socket at /short ends what has been silent for 1.5 s; a heartbeat that is not answered before the next makes the
   * client end the connection. On a busy machine both happen to a process that had to wait: then another connection lasts.
   */
  private static String heartbeat(Lab lab) {
    User silent = lab.dial("/short", Map.of());
    silent.socket.setSkipHeartbeat(true);
    User user = lab.dial("/short", Map.of());
    user.socket.setHeartbeatIntervalMs(300);
    until("the silent one is disconnected", () -> silent.closes.get() > 0);
    until("a connection lasts", () -> user.ageMs() > 4500 && user.heartbeats.get() > 5);
    user.join("echo:java").check();
    return null;
  }

  private Failures() {}
}
