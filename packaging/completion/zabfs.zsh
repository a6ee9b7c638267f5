#compdef zabfs
# Completion of zabfs for zsh.

_zabfs() {
  local -a commands
  commands=(
    'status:the state of the node and of its ensemble'
    'members:the members'
    'lock:run a command while its lock is held'
    'watch:print changes, or run a command for them'
    'run:register a member while a command runs'
    'log-level:what the log is told'
    'who:who holds or waits for what'
    'edit:edit a file, and commit it if nobody else changed it'
    'log:what was changed, newest first'
    'blame:who brought each line of a file'
    'show:a file as it was'
    'diff:how two versions differ'
    'revert:make a file what it was'
    'tree:a directory and what is below it'
    'export:copy a directory as it is at one zxid'
    'import:copy an export into a directory'
    'backup:all of the tree in one file'
    'restore:make a dataDir out of a backup'
    'import-zookeeper:take over a dataDir of Apache ZooKeeper'
    'export-zookeeper:make a dataDir of Apache ZooKeeper'
    'check:verify the data directory of a stopped node'
    'debug:write a bundle for support'
    'help:explain a command, a recipe, a key or another topic'
  )
  if (( CURRENT == 2 )); then
    _describe -t commands 'command' commands
    _arguments '--help[print help]' '--version[print the version]'
    return
  fi
  local -a command_line=('*::: :_normal')
  shift words
  (( CURRENT-- ))
  case $words[1] in
    status)
      _arguments '--mount=[the mount]:mount:_directories' '--json[for scripts]' \
        '--server=[HOST:CLIENTPORT of a server]:server' \
        '--auth-file=[a file with credentials]:file:_files' \
        '--watch=[again each so many seconds]:seconds' ;;
    members)
      _arguments '--mount=[the mount]:mount:_directories' '--json[for scripts]' \
        '--server=[HOST:CLIENTPORT of a server]:server' \
        '--auth-file=[a file with credentials]:file:_files' \
        '1:change:(add remove promote demote)' ;;
    lock)
      _arguments -S '--timeout=[seconds to wait]:seconds' '(-n --no-wait)'{-n,--no-wait}"[don't wait]" \
        '(-E --busy-code)'{-E,--busy-code=}'[exit code when somebody else has it]:code' \
        '1:directory:_directories' $command_line ;;
    watch)
      _arguments '--all[and what is below]' '--json[one object a line]' \
        '--exec=[a command to run after changes]:command:_command_names' \
        '--state=[a file that remembers]:file:_files' '1:directory:_directories' ;;
    run)
      _arguments -S '--member[register a member]' '--name=[its name]:name' '--data=[its data]:data' \
        '--check=[a command that says whether it is well]:command:_command_names' \
        '--every=[seconds between checks]:seconds' '1:directory:_directories' $command_line ;;
    log-level)
      _arguments '--mount=[the mount]:mount:_directories' \
        '1:level:(debug info warning error)' ;;
    who) _arguments '--json[for scripts]' '1:path:_files' ;;
    edit | blame) _arguments '1:file:_files' ;;
    log)
      _arguments '(-p --patch)'{-p,--patch}'[with what was changed]' \
        '--follow[also under earlier names]' '--since=[from then on]:time' '1:path:_files' ;;
    show) _arguments '1:version:_files' ;;
    revert)
      _arguments '--delete[remove what was added since]' \
        '--dry-run[only print what would change]' '1:version:_files' ;;
    diff) _arguments '1:before:_files' '2:after:_files' ;;
    tree) _arguments '--depth=[levels]:levels' '--json[for scripts]' '1:directory:_directories' ;;
    export) _arguments '1:directory:_directories' '2:target:_files' ;;
    import)
      _arguments '--delete[remove what the source does not have]' \
        '--dry-run[only print what would change]' '1:source:_files' '2:directory:_directories' ;;
    check) _arguments '--log-dir=[its dataLogDir]:directory:_directories' '1:dataDir:_directories' ;;
    backup)
      _arguments '--mount=[the mount]:mount:_directories' \
        '--data=[dataDir of a stopped node]:directory:_directories' \
        '--data-log=[its dataLogDir]:directory:_directories' '1:file or inspect:_files' '2:file:_files' ;;
    restore)
      _arguments '--log=[its dataLogDir]:directory:_directories' "--server=[the server's number]:number" \
        '--subtree=[a path in the backup]:path' '--delete[remove what the backup does not have]' \
        '--dry-run[only print what would change]' '1:file:_files' '2:dataDir or directory:_directories' ;;
    import-zookeeper)
      _arguments '--log=[its dataLogDir]:directory:_directories' "--server=[the server's number]:number" \
        '--to-log=[dataLogDir of the target]:directory:_directories' \
        '--live=[HOST:PORT,... of servers that run]:addresses' \
        '--tls=[a zoo.cfg with ssl.quorum.* stores]:file:_files' \
        '--timeout=[seconds that a server may say nothing]:seconds' \
        '--force[also where something may be missing]' '1:dataDir:_directories' '2:to:_directories' ;;
    export-zookeeper)
      _arguments '--log=[its dataLogDir]:directory:_directories' '1:dataDir:_directories' \
        '2:to:_directories' ;;
    debug)
      _arguments '(-o --output)'{-o,--output=}'[a new file]:file:_files' \
        '--mount=[the mount]:mount:_directories' '--config=[the zoo.cfg]:file:_files' ;;
    help) _arguments '--man[as troff]' "1:topic:(zabfs zabfs.cfg recipes zoo.cfg ${commands%%:*})" ;;
  esac
}

_zabfs "$@"
