package mycelium.clients;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.BooleanSupplier;

/** The server, and the users that one behaviour has connected to it. */
final class Lab implements AutoCloseable {
  private static final long PATIENCE_MS = 45_000;

  private final List<User> users = new ArrayList<>();

  /** Connects to the server at the path of one of its sockets. */
  User connect(String path, Map<String, String> params) {
    User user = dial(System.getenv("LABAPP_ADDR"), path, params);
    until("open", () -> user.opens.get() == 1);
    return user;
  }

  User connect() {
    return connect("/socket", Map.of());
  }

  /** Connects through the proxy. */
  User connectThroughProxy() {
    User user = dial(System.getenv("LABAPP_PROXY"), "/socket", Map.of());
    until("open", () -> user.opens.get() == 1);
    return user;
  }

  /** Begins to connect to the server. */
  User dial(String path, Map<String, String> params) {
    return dial(System.getenv("LABAPP_ADDR"), path, params);
  }

  private User dial(String addr, String path, Map<String, String> params) {
    User user = new User("ws://" + addr + path, params);
    users.add(user);
    user.socket.connect();
    return user;
  }

  /** Has the proxy reset its connections. */
  void cutProxy() {
    System.out.println("proxy: cut");
  }

  @Override
  public void close() {
    users.forEach(user -> user.socket.disconnect(1000, null, null));
  }

  static void until(String what, BooleanSupplier condition) {
    long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000;
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > deadline) {
        throw new AssertionError("waited in vain: " + what);
      }
      pause(10);
    }
  }

  static void pause(long ms) {
    try {
      Thread.sleep(ms);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  static void equal(String what, Object want, Object got) {
    if (!Objects.equals(want, got)) {
      throw new AssertionError(what + ": want " + want + ", got " + got);
    }
  }
}
