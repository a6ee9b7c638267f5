import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import org.apache.curator.framework.*;
import org.apache.curator.framework.api.transaction.*;
import org.apache.curator.framework.recipes.atomic.*;
import org.apache.curator.framework.recipes.barriers.*;
import org.apache.curator.framework.recipes.cache.*;
import org.apache.curator.framework.recipes.leader.*;
import org.apache.curator.framework.recipes.locks.*;
import org.apache.curator.framework.recipes.nodes.*;
import org.apache.curator.framework.recipes.queue.*;
import org.apache.curator.framework.recipes.shared.*;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.*;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;

/**
 * Curator's recipes, each by several clients at once. `recipes CONNECT` runs them all; `survive
 * CONNECT` counts under a mutex until its input ends, whatever happens to the servers; `count
 * CONNECT PATH FILE N` adds 1 to a number in a file N times, each under the mutex at PATH.
 */
@SuppressWarnings("deprecation")
public class CuratorRecipes {
    static String connect;
    static final List<CuratorFramework> clients = new ArrayList<>();

    static CuratorFramework client() {
        CuratorFramework client = CuratorFrameworkFactory.builder().connectString(connect)
            .sessionTimeoutMs(10000).connectionTimeoutMs(10000)
            .retryPolicy(new RetryNTimes(100, 100)).build();
        client.start();
        synchronized (clients) { clients.add(client); }
        return client;
    }

    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    static byte[] bytes(String text) { return text.getBytes(StandardCharsets.UTF_8); }

    interface Body { void run(int number, CuratorFramework client) throws Exception; }

    /** Runs the body in `count` threads with a client each, and fails if one of them does. */
    static void together(int count, Body body) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(count);
        List<Future<?>> all = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            int number = i;
            CuratorFramework client = client();
            all.add(threads.submit(() -> { body.run(number, client); return null; }));
        }
        for (Future<?> one : all) one.get(60, TimeUnit.SECONDS);
        threads.shutdown();
    }

    static void eventually(Callable<Boolean> holds, String what) throws Exception {
        long end = System.nanoTime() + 20_000_000_000L;
        while (!holds.call()) {
            check(System.nanoTime() < end, what + " did not come");
            Thread.sleep(20);
        }
    }

    static void mutex() throws Exception {
        AtomicInteger inside = new AtomicInteger(), count = new AtomicInteger();
        together(5, (i, client) -> {
            InterProcessMutex mutex = new InterProcessMutex(client, "/recipes/mutex");
            for (int n = 0; n < 20; n++) {
                mutex.acquire();
                mutex.acquire();  // it is reentrant
                check(inside.incrementAndGet() == 1, "two hold the mutex");
                count.incrementAndGet();
                inside.decrementAndGet();
                mutex.release();
                mutex.release();
            }
        });
        check(count.get() == 100, "mutex: " + count);
    }

    static void readWriteLock() throws Exception {
        AtomicInteger readers = new AtomicInteger(), writers = new AtomicInteger();
        together(6, (i, client) -> {
            InterProcessReadWriteLock lock = new InterProcessReadWriteLock(client, "/recipes/rw");
            for (int n = 0; n < 10; n++) {
                if (i < 2) {
                    lock.writeLock().acquire();
                    check(writers.incrementAndGet() == 1 && readers.get() == 0, "a writer is alone");
                    writers.decrementAndGet();
                    lock.writeLock().release();
                } else {
                    lock.readLock().acquire();
                    readers.incrementAndGet();
                    check(writers.get() == 0, "a reader beside a writer");
                    readers.decrementAndGet();
                    lock.readLock().release();
                }
            }
        });
    }

    static void semaphore() throws Exception {
        AtomicInteger inside = new AtomicInteger();
        together(6, (i, client) -> {
            InterProcessSemaphoreV2 semaphore =
                new InterProcessSemaphoreV2(client, "/recipes/semaphore", 3);
            for (int n = 0; n < 10; n++) {
                Lease lease = semaphore.acquire();
                check(inside.incrementAndGet() <= 3, "more than 3 leases");
                Thread.sleep(1);
                inside.decrementAndGet();
                semaphore.returnLease(lease);
            }
        });
    }

    static void multiLock() throws Exception {
        AtomicInteger inside = new AtomicInteger();
        together(3, (i, client) -> {
            InterProcessMultiLock lock =
                new InterProcessMultiLock(client, List.of("/recipes/m1", "/recipes/m2"));
            for (int n = 0; n < 10; n++) {
                lock.acquire();
                check(inside.incrementAndGet() == 1, "two hold the multi-lock");
                inside.decrementAndGet();
                lock.release();
            }
        });
    }

    static void leaders() throws Exception {
        List<LeaderLatch> latches = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            LeaderLatch latch = new LeaderLatch(client(), "/recipes/latch", "member " + i);
            latch.start();
            latches.add(latch);
        }
        for (int left = 3; left > 0; left--) {
            eventually(() -> latches.stream().filter(LeaderLatch::hasLeadership).count() == 1,
                       "one leader");
            LeaderLatch leader =
                latches.stream().filter(LeaderLatch::hasLeadership).findFirst().get();
            check(leader.getLeader().getId().equals(leader.getId()), "they agree on the leader");
            leader.close();
            latches.remove(leader);
        }
        AtomicInteger turns = new AtomicInteger(), leading = new AtomicInteger();
        List<LeaderSelector> selectors = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            LeaderSelector selector =
                new LeaderSelector(client(), "/recipes/selector", new LeaderSelectorListenerAdapter() {
                    @Override public void takeLeadership(CuratorFramework client) throws Exception {
                        check(leading.incrementAndGet() == 1, "two were selected");
                        Thread.sleep(5);
                        turns.incrementAndGet();
                        leading.decrementAndGet();
                    }
                });
            selector.autoRequeue();
            selector.start();
            selectors.add(selector);
        }
        eventually(() -> turns.get() >= 12, "12 turns");
        for (LeaderSelector selector : selectors) selector.close();
    }

    static void barriers() throws Exception {
        DistributedBarrier barrier = new DistributedBarrier(client(), "/recipes/barrier");
        barrier.setBarrier();
        AtomicInteger passed = new AtomicInteger();
        Thread remover = new Thread(() -> {
            try {
                Thread.sleep(200);
                check(passed.get() == 0, "the barrier holds");
                barrier.removeBarrier();
            } catch (Exception e) {
                throw new RuntimeException(e);
            }
        });
        remover.start();
        together(3, (i, client) -> {
            check(new DistributedBarrier(client, "/recipes/barrier").waitOnBarrier(20, TimeUnit.SECONDS),
                  "the barrier opens");
            passed.incrementAndGet();
        });
        remover.join();
        AtomicInteger in = new AtomicInteger();
        together(4, (i, client) -> {
            DistributedDoubleBarrier both = new DistributedDoubleBarrier(client, "/recipes/double", 4);
            in.incrementAndGet();
            check(both.enter(20, TimeUnit.SECONDS), "all enter");
            check(in.get() == 4, "entered before all were there");
            check(both.leave(20, TimeUnit.SECONDS), "all leave");
        });
    }

    static void counters() throws Exception {
        together(4, (i, client) -> {
            DistributedAtomicLong number = new DistributedAtomicLong(
                client, "/recipes/long", new RetryNTimes(1000, 2));
            for (int n = 0; n < 25; n++) check(number.increment().succeeded(), "an increment");
        });
        check(new DistributedAtomicLong(client(), "/recipes/long", new RetryOneTime(1)).get()
              .postValue() == 100, "the atomic long is exact");
        SharedCount shared = new SharedCount(client(), "/recipes/shared", 7);
        shared.start();
        check(shared.getCount() == 7, "a shared count");
        shared.setCount(8);
        eventually(() -> shared.getCount() == 8, "the new count");
        shared.close();
    }

    static void queues() throws Exception {
        SimpleDistributedQueue queue = new SimpleDistributedQueue(client(), "/recipes/queue");
        Set<String> taken = ConcurrentHashMap.newKeySet();
        for (int n = 0; n < 30; n++) check(queue.offer(bytes("item " + n)), "an offer");
        together(3, (i, client) -> {
            SimpleDistributedQueue mine = new SimpleDistributedQueue(client, "/recipes/queue");
            for (int n = 0; n < 10; n++) {
                byte[] item = mine.poll(20, TimeUnit.SECONDS);
                check(item != null && taken.add(new String(item, StandardCharsets.UTF_8)),
                      "an item, once");
            }
        });
        check(taken.size() == 30 && queue.poll() == null, "all items were taken");
    }

    static void nodes() throws Exception {
        CuratorFramework watching = client(), owner = client();
        PersistentNode node = new PersistentNode(owner, CreateMode.EPHEMERAL, false, "/recipes/node",
                                                 bytes("here"));
        node.start();
        check(node.waitForInitialCreate(10, TimeUnit.SECONDS), "the persistent node");
        watching.delete().forPath("/recipes/node");
        eventually(() -> watching.checkExists().forPath("/recipes/node") != null, "it comes again");
        GroupMember a = new GroupMember(client(), "/recipes/group", "a");
        GroupMember b = new GroupMember(client(), "/recipes/group", "b");
        a.start();
        b.start();
        eventually(() -> a.getCurrentMembers().size() == 2, "two members");
        b.close();
        eventually(() -> a.getCurrentMembers().size() == 1, "one member");
        a.close();
        node.close();
    }

    static void caches() throws Exception {
        CuratorFramework writer = client();
        writer.create().creatingParentsIfNeeded().forPath("/recipes/tree/a/b", bytes("1"));
        CuratorCache cache = CuratorCache.build(client(), "/recipes/tree");
        cache.start();
        TreeCache old = new TreeCache(client(), "/recipes/tree");
        old.start();
        PathChildrenCache children = new PathChildrenCache(client(), "/recipes/tree", true);
        children.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
        for (int n = 0; n < 50; n++) {
            writer.create().forPath("/recipes/tree/n" + n, bytes("" + n));
            writer.setData().forPath("/recipes/tree/a/b", bytes("" + n));
            if (n % 2 == 0) writer.delete().forPath("/recipes/tree/n" + n);
        }
        eventually(() -> cache.size() == 28, "CuratorCache has all");
        eventually(() -> Arrays.equals(cache.get("/recipes/tree/a/b").get().getData(), bytes("49")),
                   "CuratorCache has the last data");
        eventually(() -> old.getCurrentChildren("/recipes/tree").size() == 26, "TreeCache has all");
        eventually(() -> children.getCurrentData().size() == 26, "PathChildrenCache has all");
        cache.close();
        old.close();
        children.close();
    }

    static void transactions() throws Exception {
        CuratorFramework client = client();
        client.create().creatingParentsIfNeeded().forPath("/recipes/txn/a", bytes("1"));
        List<CuratorTransactionResult> results = client.transaction().forOperations(
            client.transactionOp().check().withVersion(0).forPath("/recipes/txn/a"),
            client.transactionOp().create().forPath("/recipes/txn/b", bytes("2")),
            client.transactionOp().setData().forPath("/recipes/txn/a", bytes("3")),
            client.transactionOp().delete().forPath("/recipes/txn/b"));
        check(results.size() == 4 && results.get(2).getResultStat().getVersion() == 1, "a commit");
        try {
            client.transaction().forOperations(
                client.transactionOp().create().forPath("/recipes/txn/c"),
                client.transactionOp().check().withVersion(99).forPath("/recipes/txn/a"));
            check(false, "a failed check aborts");
        } catch (KeeperException.BadVersionException expected) {
            check(client.checkExists().forPath("/recipes/txn/c") == null, "nothing of it was done");
        }
    }

    static void reaped() throws Exception {
        CuratorFramework client = client();
        client.create().creatingParentContainersIfNeeded().forPath("/recipes/box/inner/x");
        client.delete().forPath("/recipes/box/inner/x");
        client.create().withTtl(300).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/recipes/ttl");
        eventually(() -> client.checkExists().forPath("/recipes/box/inner") == null
                         && client.checkExists().forPath("/recipes/ttl") == null,
                   "the container and the TTL node are reaped");
    }

    static void sessionLoss() throws Exception {
        CuratorFramework client = client();
        client.create().withMode(CreateMode.EPHEMERAL).forPath("/recipes/mine");
        CountDownLatch lost = new CountDownLatch(1), back = new CountDownLatch(1);
        client.getConnectionStateListenable().addListener((c, state) -> {
            if (state == ConnectionState.LOST) lost.countDown();
            if (state == ConnectionState.RECONNECTED) back.countDown();
        });
        long id = client.getZookeeperClient().getZooKeeper().getSessionId();
        byte[] password = client.getZookeeperClient().getZooKeeper().getSessionPasswd();
        // Somebody else takes the session over, and ends it.
        CountDownLatch there = new CountDownLatch(1);
        org.apache.zookeeper.ZooKeeper other = new org.apache.zookeeper.ZooKeeper(
            connect, 10000, event -> there.countDown(), id, password);
        check(there.await(20, TimeUnit.SECONDS), "the session is taken over");
        other.close();
        check(lost.await(30, TimeUnit.SECONDS), "the loss is told");
        check(back.await(30, TimeUnit.SECONDS), "and the new session");
        check(client.checkExists().forPath("/recipes/mine") == null, "the ephemeral went with it");
    }

    interface Recipe { void run() throws Exception; }

    static void all() throws Exception {
        Map<String, Recipe> recipes = new LinkedHashMap<>();
        recipes.put("mutex", CuratorRecipes::mutex);
        recipes.put("read-write lock", CuratorRecipes::readWriteLock);
        recipes.put("semaphore", CuratorRecipes::semaphore);
        recipes.put("multi-lock", CuratorRecipes::multiLock);
        recipes.put("leader latch and selector", CuratorRecipes::leaders);
        recipes.put("barriers", CuratorRecipes::barriers);
        recipes.put("counters", CuratorRecipes::counters);
        recipes.put("queues", CuratorRecipes::queues);
        recipes.put("persistent node, group member", CuratorRecipes::nodes);
        recipes.put("caches", CuratorRecipes::caches);
        recipes.put("transactions", CuratorRecipes::transactions);
        recipes.put("containers and TTLs", CuratorRecipes::reaped);
        recipes.put("session loss", CuratorRecipes::sessionLoss);
        for (Map.Entry<String, Recipe> recipe : recipes.entrySet()) {
            recipe.getValue().run();
            System.out.println("ok " + recipe.getKey());
            for (CuratorFramework client : clients) client.close();
            clients.clear();
        }
    }

    static void survive() throws Exception {
        AtomicBoolean stopping = new AtomicBoolean();
        Thread input = new Thread(() -> {
            new Scanner(System.in).nextLine();
            stopping.set(true);
        });
        input.setDaemon(true);
        input.start();
        AtomicInteger inside = new AtomicInteger(), count = new AtomicInteger();
        together(3, (i, client) -> {
            InterProcessMutex mutex = new InterProcessMutex(client, "/survive");
            while (!stopping.get()) {
                try {
                    if (!mutex.acquire(30, TimeUnit.SECONDS)) continue;
                } catch (KeeperException.ConnectionLossException | KeeperException.SessionExpiredException e) {
                    continue;
                }
                check(inside.incrementAndGet() == 1, "two hold the mutex");
                if (count.incrementAndGet() % 50 == 1) System.out.println("count " + count);
                inside.decrementAndGet();
                try {
                    mutex.release();
                } catch (KeeperException e) {
                    System.out.println("release: " + e.code());
                }
            }
        });
        System.out.println("ok survive");
    }

    static void count(String path, String file, int times) throws Exception {
        InterProcessMutex mutex = new InterProcessMutex(client(), path);
        java.nio.file.Path number = java.nio.file.Path.of(file);
        for (int n = 0; n < times; n++) {
            mutex.acquire();
            int value = Integer.parseInt(java.nio.file.Files.readString(number).trim());
            java.nio.file.Files.writeString(number, (value + 1) + "\n");
            mutex.release();
        }
    }

    /**
     * One recipe at a time on PATH, as the lines of standard input say; an answer a line. A verb
     * with a question mark waits briefly, for what is not expected.
     */
    static void obey() throws Exception {
        CuratorFramework client = client();
        java.io.BufferedReader in =
            new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
        InterProcessReadWriteLock lock = null;
        LeaderLatch latch = null;
        Lease lease = null;
        DistributedDoubleBarrier barrier = null;
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ", 3);
            String path = words[1];
            long seconds = words[0].endsWith("?") ? 1 : 30;
            Object answer = "ok";
            switch (words[0].replace("?", "")) {
                case "read" -> {
                    lock = new InterProcessReadWriteLock(client, path);
                    answer = lock.readLock().acquire(seconds, TimeUnit.SECONDS);
                }
                case "unread" -> lock.readLock().release();
                case "write" -> {
                    lock = new InterProcessReadWriteLock(client, path);
                    answer = lock.writeLock().acquire(seconds, TimeUnit.SECONDS);
                }
                case "unwrite" -> lock.writeLock().release();
                case "stand" -> {
                    latch = new LeaderLatch(client, path, "curator");
                    latch.start();
                }
                case "leads" -> answer = latch.await(seconds, TimeUnit.SECONDS);
                case "resign" -> latch.close();
                case "lease" -> {
                    lease = new InterProcessSemaphoreV2(client, path, Integer.parseInt(words[2]))
                        .acquire(seconds, TimeUnit.SECONDS);
                    answer = lease != null;
                }
                case "unlease" -> lease.close();
                case "offer" -> answer = new SimpleDistributedQueue(client, path).offer(bytes(words[2]));
                case "poll" -> {
                    byte[] item = new SimpleDistributedQueue(client, path).poll(seconds, TimeUnit.SECONDS);
                    answer = item == null ? "none" : new String(item, StandardCharsets.UTF_8);
                }
                case "enter" -> {
                    barrier = new DistributedDoubleBarrier(client, path, Integer.parseInt(words[2]));
                    answer = barrier.enter(seconds, TimeUnit.SECONDS);
                }
                case "leave" -> answer = barrier.leave(seconds, TimeUnit.SECONDS);
                default -> throw new IllegalArgumentException(line);
            }
            System.out.println(answer);
        }
    }

    public static void main(String[] arguments) throws Exception {
        connect = arguments[1];
        switch (arguments[0]) {
            case "recipes" -> all();
            case "survive" -> survive();
            case "obey" -> obey();
            case "count" -> count(arguments[2], arguments[3], Integer.parseInt(arguments[4]));
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        System.exit(0);
    }
}
