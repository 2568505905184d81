package mycelium.clients;

import static mycelium.clients.Lab.until;

import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.phoenixframework.Presence;

/** Who is in a room, as the client's own Presence has it. */
final class Presences {
  static void addTo(Map<String, Main.Behaviour> behaviours) {
    behaviours.put("presence: two users, two tabs", Presences::twoUsersTwoTabs);
  }

  private static String twoUsersTwoTabs(Lab lab) {
    User first = lab.connect();
    User.Topic one = first.join("room:java", member("alice", "one"));
    User.Topic two = lab.connect().join("room:java", member("alice", "two"));
    User.Topic bob = lab.connect().join("room:java", member("bob", "three"));
    for (User.Topic topic : List.of(one, bob)) {
      untilTabs(topic, Map.of("alice", List.of("one", "two"), "bob", List.of("three")));
    }
    bob.push("update", Map.of("tab", "four"));
    for (User.Topic topic : List.of(one, bob)) {
      untilTabs(topic, Map.of("alice", List.of("one", "two"), "bob", List.of("four")));
    }
    two.leave();
    untilTabs(bob, Map.of("alice", List.of("one"), "bob", List.of("four")));
    first.socket.disconnect(1000, null, null);
    untilTabs(bob, Map.of("bob", List.of("four")));
    return null;
  }

  private static Map<String, ?> member(String user, String tab) {
    return Map.of("user", user, "meta", Map.of("tab", tab));
  }

  private static void untilTabs(User.Topic topic, Map<String, List<String>> want) {
    until("presences are " + want, () -> topic.tabs.equals(want));
  }

  static Map<String, List<String>> tabs(Presence presence) {
    Map<String, List<String>> tabs = new TreeMap<>();
    presence.getState().forEach((user, entry) -> {
      TreeSet<String> metas = new TreeSet<>();
      entry.get("metas").forEach(meta -> metas.add((String) meta.get("tab")));
      tabs.put(user, List.copyOf(metas));
    });
    return tabs;
  }

  private Presences() {}
}
