# Completion of zabfs for bash.

_zabfs() {
  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command= options i
  local commands="status members lock watch run log-level who edit log blame show diff revert tree export import backup restore import-zookeeper export-zookeeper check debug help"
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ ${COMP_WORDS[i]} == -- ]]; then  # from here on it is another command's
      COMPREPLY=($(compgen -c -f -- "$word"))
      return
    fi
    [[ -n $command || ${COMP_WORDS[i]} == -* ]] || command=${COMP_WORDS[i]}
  done
  case $command in
    "") COMPREPLY=($(compgen -W "$commands --help --version" -- "$word"))
        return ;;
    status) options="--mount --server --auth-file --json --watch" ;;
    members) options="--mount --server --auth-file --json" ;;
    log-level) options="--mount" ;;
    lock) options="--timeout --no-wait --busy-code" ;;
    watch) options="--all --json --exec --state" ;;
    run) options="--member --name --data --check --every" ;;
    who) options="--json" ;;
    log) options="--patch --follow --since" ;;
    tree) options="--depth --json" ;;
    import | revert) options="--delete --dry-run" ;;
    check) options="--log-dir" ;;
    backup) options="--mount --data --data-log"
        [[ " ${COMP_WORDS[*]} " != *" inspect "* ]] || options="--list" ;;
    restore) options="--log --server --subtree --delete --dry-run" ;;
    import-zookeeper) options="--live --tls --timeout --log --to-log --server --force" ;;
    export-zookeeper) options="--log" ;;
    debug) options="--output --mount --config" ;;
    help) options="--man" ;;
    *) options= ;;
  esac
  case $previous in
    --auth-file) COMPREPLY=($(compgen -f -- "$word")); return ;;
    --exec | --check) COMPREPLY=($(compgen -c -- "$word")); return ;;
    --timeout | --server | --busy-code | --name | --data | --every | --depth | --watch | --since)
        COMPREPLY=(); return ;;
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$options --help" -- "$word"))
  elif [[ $command == help ]]; then
    COMPREPLY=($(compgen -W "zabfs zabfs.cfg recipes zoo.cfg $commands" -- "$word"))
  elif [[ $command == members ]]; then
    COMPREPLY=($(compgen -W "add remove promote demote" -- "$word"))
  elif [[ $command == log-level ]]; then
    COMPREPLY=($(compgen -W "debug info warning error" -- "$word"))
  elif [[ $command == backup && $previous == backup ]]; then
    COMPREPLY=($(compgen -W inspect -- "$word") $(compgen -f -- "$word"))
  elif [[ $command =~ ^(backup|restore|edit|who|import|log|blame|show|diff|revert)$ ]] || [[ $previous == --state ]]; then
    COMPREPLY=($(compgen -f -- "$word"))
  else
    COMPREPLY=($(compgen -d -- "$word"))
  fi
}
complete -o filenames -F _zabfs zabfs
