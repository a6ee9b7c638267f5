# Completion of zabfs for fish.

set -l commands status members lock watch run log-level who edit log blame show diff revert tree export import backup restore import-zookeeper export-zookeeper check debug help
complete -c zabfs -n "not __fish_seen_subcommand_from $commands" -f
complete -c zabfs -n "not __fish_seen_subcommand_from $commands" -l help -d 'print help'
complete -c zabfs -n "not __fish_seen_subcommand_from $commands" -l version -d 'print the version'

function __zabfs_command -a name text
    complete -c zabfs -n __fish_use_subcommand -f -a $name -d $text
end
function __zabfs_option -a name
    complete -c zabfs -n "__fish_seen_subcommand_from $name" $argv[2..]
end

__zabfs_command status 'the state of the node and of its ensemble'
__zabfs_command members 'the members'
__zabfs_command lock 'run a command while its lock is held'
__zabfs_command watch 'print changes, or run a command for them'
__zabfs_command run 'register a member while a command runs'
__zabfs_command log-level 'what the log is told'
__zabfs_command who 'who holds or waits for what'
__zabfs_command edit 'edit a file, and commit it if nobody else changed it'
__zabfs_command log 'what was changed, newest first'
__zabfs_command blame 'who brought each line of a file'
__zabfs_command show 'a file as it was'
__zabfs_command diff 'how two versions differ'
__zabfs_command revert 'make a file what it was'
__zabfs_command tree 'a directory and what is below it'
__zabfs_command export 'copy a directory as it is at one zxid'
__zabfs_command import 'copy an export into a directory'
__zabfs_command backup 'all of the tree in one file'
__zabfs_command restore 'make a dataDir out of a backup'
__zabfs_command import-zookeeper 'take over a dataDir of Apache ZooKeeper'
__zabfs_command export-zookeeper 'make a dataDir of Apache ZooKeeper'
__zabfs_command check 'verify the data directory of a stopped node'
__zabfs_command debug 'write a bundle for support'
__zabfs_command help 'explain a command, a recipe, a key or another topic'

for name in status members log-level backup debug
    __zabfs_option $name -f -l mount -r -a '(__fish_complete_directories)' -d 'the mount'
end
for name in status members
    __zabfs_option $name -x -l server -d 'HOST:CLIENTPORT of a server'
    __zabfs_option $name -r -l auth-file -d 'a file with credentials'
end
for name in status members watch who tree
    __zabfs_option $name -f -l json -d 'for scripts'
end
__zabfs_option status -x -l watch -d 'again each so many seconds'
__zabfs_option log-level -f -a 'debug info warning error'
__zabfs_option members -f -a 'add remove promote demote'
for name in lock watch run tree check import-zookeeper export-zookeeper
    __zabfs_option $name -f -a '(__fish_complete_directories)'
end
__zabfs_option lock -x -l timeout -d 'seconds to wait'
__zabfs_option lock -f -s n -l no-wait -d "don't wait"
__zabfs_option lock -x -s E -l busy-code -d 'exit code when somebody else has it'
__zabfs_option watch -f -l all -d 'and what is below'
__zabfs_option watch -x -l exec -a '(__fish_complete_command)' -d 'a command to run after changes'
__zabfs_option watch -r -l state -d 'a file that remembers'
__zabfs_option run -f -l member -d 'register a member'
__zabfs_option run -x -l name -d 'its name'
__zabfs_option run -x -l data -d 'its data'
__zabfs_option run -x -l check -a '(__fish_complete_command)' -d 'says whether the member is well'
__zabfs_option run -x -l every -d 'seconds between checks'
__zabfs_option log -f -s p -l patch -d 'with what was changed'
__zabfs_option log -f -l follow -d 'also under earlier names'
__zabfs_option log -x -l since -d 'from then on'
__zabfs_option tree -x -l depth -d levels
__zabfs_option import -f -l delete -d 'remove what the source does not have'
__zabfs_option import -f -l dry-run -d 'only print what would change'
__zabfs_option revert -l delete -d 'remove what was added since'
__zabfs_option revert -l dry-run -d 'only print what would change'
__zabfs_option check -x -l log-dir -a '(__fish_complete_directories)' -d 'its dataLogDir'
for name in import-zookeeper export-zookeeper
    __zabfs_option $name -x -l log -a '(__fish_complete_directories)' -d 'dataLogDir of the source'
end
__zabfs_option import-zookeeper -x -l to-log -a '(__fish_complete_directories)' -d 'dataLogDir of the target'
__zabfs_option import-zookeeper -x -l server -d "the server's number"
__zabfs_option import-zookeeper -x -l live -d 'HOST:PORT,... of servers that run'
__zabfs_option import-zookeeper -r -l tls -d 'a zoo.cfg with ssl.quorum.* stores'
__zabfs_option import-zookeeper -x -l timeout -d 'seconds that a server may say nothing'
__zabfs_option import-zookeeper -f -l force -d 'also where something may be missing'
__zabfs_option backup -a inspect -d 'verify a backup'
__zabfs_option inspect -f -l list -d 'the znodes'
__zabfs_option backup -x -l data -a '(__fish_complete_directories)' -d 'dataDir of a stopped node'
__zabfs_option backup -x -l data-log -a '(__fish_complete_directories)' -d 'its dataLogDir'
__zabfs_option restore -x -l log -a '(__fish_complete_directories)' -d 'its dataLogDir'
__zabfs_option restore -x -l server -d "the server's number"
__zabfs_option restore -x -l subtree -d 'a path in the backup'
__zabfs_option restore -l delete -d 'remove what the backup does not have'
__zabfs_option restore -l dry-run -d 'only print what would change'
__zabfs_option debug -r -s o -l output -d 'a new file'
__zabfs_option debug -r -l config -d 'the zoo.cfg'
__zabfs_option help -f -a "zabfs zabfs.cfg recipes zoo.cfg $commands"
__zabfs_option help -f -l man -d 'as troff'
