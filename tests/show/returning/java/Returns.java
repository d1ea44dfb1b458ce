import io.socket.client.IO;
import io.socket.client.Socket;
import java.net.URI;
import java.util.HashMap;
import java.util.Map;

/** The stock Java client: URL TRANSPORTS TOKEN…; prints "ready" whenever it is (again). */
public class Returns {
  private static int readies = 0;

  public static void main(String[] args) throws Exception {
    Map<String, String> auth = new HashMap<>(); // read at each CONNECT
    auth.put("token", args[2]);
    IO.Options options =
        IO.Options.builder().setTransports(args[1].split(",")).setAuth(auth).build();
    Socket socket = IO.socket(URI.create(args[0]), options);
    socket.on(
        "ready",
        data -> {
          readies += 1;
          auth.put("token", args[Math.min(2 + readies, args.length - 1)]);
          System.out.println("ready");
        });
    socket.on("server:shutdown", data -> System.out.println("told"));
    socket.on(Socket.EVENT_DISCONNECT, reason -> System.err.println("disconnect " + reason[0]));
    socket.on(Socket.EVENT_CONNECT_ERROR, error -> System.err.println("error " + error[0]));
    socket.connect();
    Thread.currentThread().join();
  }
}
