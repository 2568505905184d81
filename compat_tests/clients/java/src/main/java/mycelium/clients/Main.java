package mycelium.clients;

import java.util.LinkedHashMap;
import java.util.Map;

/** Runs each behaviour and says in one line how it went; clients_test.go reads them. */
public final class Main {
  /** One behaviour. It throws where the client does not show it. */
  interface Behaviour {
    /** Returns what the reader of the table has to know, else null. */
    String run(Lab lab) throws Exception;
  }

  /** Thrown for what the client has no means for. */
  static final class NotOffered extends RuntimeException {
    NotOffered(String reason) {
      super(reason);
    }
  }

  public static void main(String[] args) {
    System.out.println(); // ends what Maven may have begun
    Map<String, Behaviour> behaviours = new LinkedHashMap<>();
    Basics.addTo(behaviours);
    Failures.addTo(behaviours);
    Presences.addTo(behaviours);
    behaviours.put("long polling", lab -> {
      throw new NotOffered("a WebSocket is its only transport");
    });
    behaviours.forEach((name, behaviour) -> System.out.println(name + ": " + outcome(behaviour)));
    System.exit(0); // threads of OkHttp would keep the process for a minute
  }

  private static String outcome(Behaviour behaviour) {
    try (Lab lab = new Lab()) {
      String note = behaviour.run(lab);
      return note == null ? "ok" : "ok (" + note + ")";
    } catch (NotOffered e) {
      return "not offered (" + e.getMessage() + ")";
    } catch (Throwable e) {
      e.printStackTrace();
      return "FAIL " + String.valueOf(e).replace('\n', ' ');
    }
  }

  private Main() {}
}
