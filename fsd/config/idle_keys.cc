// ZooKeeper's keys that have no effect here, each with its reason.
#include "fsd/config/keys.h"

namespace zabfs::fsd {

namespace {

struct Reason {
  const char* why;
  std::vector<const char*> names;
};

const std::vector<Reason>& reasons() {
  static const std::vector<Reason> kReasons = {
      {"old snapshots go when a new one is made", {"autopurge.purgeInterval"}},
      {"the log is always synced, in segments of 16 MiB that are written beforehand",
       {"forceSync", "preAllocSize", "txnLogSizeLimitInKb"}},
      {"snapCount alone says when a snapshot is made", {"snapSizeLimitInKb"}},
      {"snapshots are not compressed", {"snapshot.compression.method"}},
      {"a data directory that lost its snapshot is mended from the other members",
       {"snapshot.trust.empty"}},
      {"how much log is kept in memory for members that come back is fixed", {"commitLogCount"}},
      {"an observer keeps its log as every member does", {"syncEnabled"}},
      {"observers follow the leader itself",
       {"observerMasterPort", "observer.reconnectDelayMs", "observer.election.DelayMs"}},
      {"members that synchronise are bounded by their memory",
       {"connectToLearnerMasterLimit", "maxConcurrentSnapSyncs", "maxConcurrentDiffSyncs",
        "maxTimeToWaitForEpoch"}},
      {"elections have times of their own",
       {"fastleader.minNotificationInterval", "fastleader.maxNotificationInterval",
        "quorumCnxnTimeoutMs", "electionPortBindRetry"}},
      {"a server with several addresses is dialled at the first",
       {"multiAddress.reachabilityCheckTimeoutMs", "multiAddress.reachabilityCheckEnabled"}},
      {"a peer that falls silent is cut off by its pings that are missing",
       {"tcpKeepAlive", "clientTcpKeepAlive"}},
      {"answers are made from the tree each time",
       {"maxResponseCacheSize", "maxGetChildrenResponseCacheSize"}},
      {"there is one way to keep watches",
       {"watchManagerName", "watcherCleanThreadsNum", "watcherCleanThreshold",
        "watcherCleanIntervalInSeconds", "maxInProcessingDeadWatchers", "bitHashCacheSize"}},
      {"what clients can make a node hold is bounded by zabfs.clientMemory",
       {"connectionMaxTokens",
        "connectionTokenFillTime",
        "connectionTokenFillCount",
        "connectionFreezeTime",
        "connectionDropIncrease",
        "connectionDropDecrease",
        "connectionDecreaseRatio",
        "connection_throttle_tokens",
        "connection_throttle_fill_time",
        "connection_throttle_fill_count",
        "connection_throttle_freeze_time",
        "connection_throttle_drop_increase",
        "connection_throttle_drop_decrease",
        "connection_throttle_decrease_ratio",
        "connection_throttle_weight_enabled",
        "connection_throttle_global_session_weight",
        "connection_throttle_local_session_weight",
        "connection_throttle_renew_session_weight",
        "requestThrottleLimit",
        "requestThrottleStallTime",
        "requestThrottleDropStale",
        "requestStaleLatencyCheck",
        "requestStaleConnectionCheck",
        "request_throttle_max_requests",
        "request_throttle_stall_time",
        "request_throttle_drop_stale",
        "request_stale_latency_check",
        "request_stale_connection_check",
        "request_throttler.shutdownTimeout",
        "advancedFlowControlEnabled",
        "netty.advancedFlowControl.enabled",
        "largeRequestMaxBytes",
        "largeRequestThreshold",
        "outstandingHandshake.limit",
        "netty.server.outstandingHandshake.limit",
        "netty.server.earlyDropSecureConnectionHandshakes",
        "throttledOpWaitTime",
        "throttled_op_wait_time"}},
      {"txns are gathered for one sync as they come",
       {"flushDelay", "maxWriteQueuePollTime", "maxBatchSize"}},
      {"ACLs are checked by the leader, as in ZooKeeper without it", {"enableEagerACLCheck"}},
      {"trees are compared by digests of zabfs's own", {"digest.enabled"}},
      {"TTL nodes have the format of ZooKeeper 3.5.4 and later", {"emulate353TTLNodes"}},
      {"audit lines are those of Java's own logger; see audit.enable", {"audit.impl.class"}},
      {"sockets are closed without waiting",
       {"learner.closeSocketAsync", "leader.closeSocketAsync", "learner.asyncSending"}},
      {"requests of members go one way",
       {"forward_learner_requests_to_commit_processor_disabled",
        "follower.skipLearnerRequestToNextProcessor"}},
      {"threads are zabfs.clientThreads",
       {"nio.numSelectorThreads", "nio.numWorkerThreads", "nio.directBufferBytes",
        "nio.sessionlessCnxnTimeout", "nio.shutdownTimeout", "commitProcessor.numWorkerThreads",
        "commitProcessor.maxReadBatchSize", "commitProcessor.maxCommitBatchSize",
        "quorum.cnxn.threads.size"}},
      {"containers and TTL nodes are looked through as a whole, as often as "
       "znode.container.checkIntervalMs says",
       {"znode.container.maxPerMinute", "znode.container.maxNeverUsedIntervalMs"}},
      {"messages between members are not kept",
       {"messageTracker.BufferSize", "messageTracker.Enabled"}},
      {"what a request may hold beside its data is counted in jute.maxbuffer",
       {"jute.maxbuffer.extrasize"}},
      {"a file of TLS that changes is always read again",
       {"sslQuorumReloadCertFiles", "client.certReload"}},
      {"who does not begin TLS in time is cut off as everybody who is silent",
       {"ssl.handshakeDetectionTimeoutMillis", "ssl.quorum.handshakeDetectionTimeoutMillis"}},
      {"clients are known by their certificates, wherever they are",
       {"ssl.clientHostnameVerification", "ssl.quorum.clientHostnameVerification"}},
      {"Kerberos is not supported, and nobody is let in by it",
       {"kerberos.removeHostFromPrincipal", "kerberos.removeRealmFromPrincipal",
        "kerberos.canonicalizeHostNames", "jaasLoginRenew", "security.auth_to_local",
        "quorum.auth.kerberos.servicePrincipal", "quorum.auth.learner.saslLoginContext",
        "quorum.auth.server.saslLoginContext", "quorum.auth.learner.loginContext",
        "quorum.auth.server.loginContext"}},
      {"nobody is the superuser by SASL; see zabfs.clientSocket and superDigest",
       {"superUser", "superUser.*", "letAnySaslUserDoX"}},
      {"a client whose SASL fails is cut off", {"allowSaslFailedClients"}},
      {"the scheme `ensemble` is not known, and a client that asks for it is refused",
       {"ensembleAuthName"}},
      {"there is no Java virtual machine that pauses",
       {"jvm.pause.monitor", "jvm.pause.info-threshold.ms", "jvm.pause.warn-threshold.ms",
        "jvm.pause.sleep.time.ms"}},
      {"the admin port has limits of its own, see README.md",
       {"admin.idleTimeout", "admin.httpVersion"}},
      {"the port of metrics has limits of its own, and tells nothing of a Java virtual machine",
       {"metricsProvider.*"}},
      {"it is of ZooKeeper's tests", {"testingonly.initialZxid"}},
      {"it is of ZooKeeper's clients", {"clientCnxnSocket", "client.secure"}},
  };
  return kReasons;
}

}  // namespace

std::vector<Key> idle_keys() {
  std::vector<Key> keys;
  for (const Reason& reason : reasons()) {
    for (const char* name : reason.names) {
      keys.push_back({name, "", [](ConfigReader&, const Property&) {}, "", reason.why});
    }
  }
  return keys;
}

}  // namespace zabfs::fsd
