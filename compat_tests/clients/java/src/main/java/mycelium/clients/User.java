package mycelium.clients;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import kotlin.Unit;
import okhttp3.OkHttpClient;
import org.phoenixframework.Channel;
import org.phoenixframework.Defaults;
import org.phoenixframework.Message;
import org.phoenixframework.Presence;
import org.phoenixframework.Push;
import org.phoenixframework.Socket;

/** One socket with the client's own coding, and what happened to it. */
final class User {
  final Socket socket;
  final AtomicInteger opens = new AtomicInteger();
  final AtomicInteger closes = new AtomicInteger();
  final AtomicInteger heartbeats = new AtomicInteger(); // answered on this connection
  private volatile long openedAt = Long.MAX_VALUE; // in nanoseconds
  final List<Integer> refusals = new CopyOnWriteArrayList<>(); // HTTP statuses

  User(String url, Map<String, String> params) {
    socket = new Socket(url, new HashMap<>(params), Defaults.VSN, Defaults.INSTANCE.getEncode(),
        Defaults.INSTANCE.getDecode(), new OkHttpClient());
    socket.setRejoinAfterMs(tries -> 200L); // one second is the client's own
    socket.onOpen(() -> {
      heartbeats.set(0);
      openedAt = System.nanoTime();
      return count(opens);
    });
    socket.onClose(() -> {
      openedAt = Long.MAX_VALUE;
      return count(closes);
    });
    socket.onError((error, response) -> {
      if (response != null) {
        refusals.add(response.code());
      }
      return Unit.INSTANCE;
    });
    socket.onMessage(message -> message.getTopic().equals("phoenix") ? count(heartbeats) : Unit.INSTANCE);
  }

  private static Unit count(AtomicInteger counter) {
    counter.incrementAndGet();
    return Unit.INSTANCE;
  }

  /** How long the connection has been open; negative while there is none. */
  long ageMs() {
    long since = openedAt;
    return since == Long.MAX_VALUE ? -1 : (System.nanoTime() - since) / 1_000_000;
  }

  /** Joins and expects the answer ok. */
  Topic join(String topic, Map<String, ?> params) {
    Topic joined = joining(topic, params);
    Lab.until(topic + " is joined", () -> joined.joins.size() == 1);
    Lab.equal("answer to the join", "ok", joined.joins.get(0).getStatus());
    return joined;
  }

  Topic join(String topic) {
    return join(topic, Map.of());
  }

  /** Joins without waiting for the answer. */
  Topic joining(String topic, Map<String, ?> params) {
    return new Topic(socket.channel(topic, new HashMap<>(params)));
  }

  /** One channel, and what came on it. */
  static final class Topic {
    final Channel channel;
    final List<Message> joins = new CopyOnWriteArrayList<>(); // the answer to each join and rejoin
    final List<Message> events = new CopyOnWriteArrayList<>();
    final AtomicInteger closes = new AtomicInteger();
    final AtomicInteger errors = new AtomicInteger();

    volatile Map<String, List<String>> tabs = Map.of(); // of each user who is present

    private Topic(Channel channel) {
      this.channel = channel;
      Presence presence = new Presence(channel, Presence.Options.Companion.getDefaults());
      presence.onSync(() -> { // its state changes in place, on the thread that calls this
        tabs = Presences.tabs(presence);
        return Unit.INSTANCE;
      });
      channel.onClose(message -> count(closes));
      channel.onError(message -> count(errors));
      for (String event : List.of("pushed", "shout", "bin_pushed")) {
        channel.on(event, message -> {
          events.add(message);
          return Unit.INSTANCE;
        });
      }
      channel.on(Channel.Event.REPLY, message -> {
        if (message.getRef().equals(channel.getJoinRef())) {
          joins.add(message);
        }
        return Unit.INSTANCE;
      });
      channel.join(Defaults.TIMEOUT);
    }

    /** Pushes and waits for the answer. */
    Message push(String event, Map<String, ?> payload, long timeoutMs) {
      return answer(channel.push(event, new HashMap<>(payload), timeoutMs));
    }

    Message push(String event, Map<String, ?> payload) {
      return push(event, payload, Defaults.TIMEOUT);
    }

    /** Pushes without waiting for an answer, as of what gives none. */
    void send(String event, Map<String, ?> payload) {
      channel.push(event, new HashMap<>(payload), Defaults.TIMEOUT);
    }

    Message leave() {
      return answer(channel.leave(Defaults.TIMEOUT));
    }

    /** Shows that the channel works: an echo comes back. */
    void check() {
      Message reply = push("echo", Map.of("text", "still here"));
      Lab.equal("status", "ok", reply.getStatus());
      Lab.equal("payload", Map.of("text", "still here"), reply.getPayload());
    }

    /** Waits without a hook: an answer could overtake it. */
    private static Message answer(Push push) {
      Lab.until("an answer to " + push.getEvent(), () -> push.getReceivedMessage() != null);
      return push.getReceivedMessage();
    }
  }
}
