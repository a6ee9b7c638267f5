#include "tree/types.h"

namespace zabfs::tree {

const char* error_name(Error error) {
  switch (error) {
    case Error::kOk:
      return "ok";
    case Error::kSystemError:
      return "system error";
    case Error::kRuntimeInconsistency:
      return "runtime inconsistency";
    case Error::kDataInconsistency:
      return "data inconsistency";
    case Error::kConnectionLoss:
      return "connection loss";
    case Error::kMarshallingError:
      return "malformed request";
    case Error::kUnimplemented:
      return "unimplemented";
    case Error::kOperationTimeout:
      return "operation timeout";
    case Error::kBadArguments:
      return "bad arguments";
    case Error::kNewConfigNoQuorum:
      return "no quorum of the new configuration";
    case Error::kReconfigInProgress:
      return "another reconfiguration is in progress";
    case Error::kNoNode:
      return "no node";
    case Error::kNoAuth:
      return "not authorised";
    case Error::kBadVersion:
      return "bad version";
    case Error::kNoChildrenForEphemerals:
      return "ephemerals have no children";
    case Error::kNodeExists:
      return "node exists";
    case Error::kNotEmpty:
      return "not empty";
    case Error::kSessionExpired:
      return "session expired";
    case Error::kInvalidAcl:
      return "invalid ACL";
    case Error::kAuthFailed:
      return "authentication failed";
    case Error::kSessionMoved:
      return "session moved";
    case Error::kNotReadOnly:
      return "read-only server";
    case Error::kEphemeralOnLocalSession:
      return "ephemeral on a local session";
    case Error::kNoWatcher:
      return "no such watcher";
    case Error::kReconfigDisabled:
      return "reconfiguration is disabled";
    case Error::kSessionClosedRequireSaslAuth:
      return "authentication is required";
    case Error::kQuotaExceeded:
      return "quota exceeded";
    case Error::kThrottledOp:
      return "throttled";
    case Error::kStale:
      return "stale";
    case Error::kTooLarge:
      return "too large";
    case Error::kBusy:
      return "busy";
    case Error::kBadLimit:
      return "limit reached";
  }
  return "unknown error";
}

}  // namespace zabfs::tree
