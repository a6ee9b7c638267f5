// Which of these zoo.cfg Apache ZooKeeper reads: one line a file, "starts" or "refused: WHY".
import java.util.Properties;
import org.apache.zookeeper.server.quorum.QuorumPeerConfig;

public class ConfigOracle {
    public static void main(String[] files) {
        Properties before = (Properties) System.getProperties().clone();
        for (String file : files) {
            // Reading a file sets properties of the process, which the next one is not to see.
            System.setProperties((Properties) before.clone());
            QuorumPeerConfig.setStandaloneEnabled(true);
            QuorumPeerConfig.setReconfigEnabled(false);
            try {
                new QuorumPeerConfig().parse(file);
                System.out.println("starts");
            } catch (Exception e) {
                Throwable first = e.getCause() == null ? e : e.getCause();
                System.out.println("refused: " + first.getMessage());
            }
        }
    }
}
