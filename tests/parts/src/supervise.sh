# Runs a server for as long as its starter keeps standard input open, then kills it and removes what
# it left. So the server ends with the test process, however that ends.
# usage: sh supervise.sh DIRECTORY "GRPC PORTS" COMMAND [ARGUMENT]...
directory=$1
ports=$2
shift 2
exec 3<&0
"$@" </dev/null >"$directory/log" 2>&1 3<&- &
server=$!
{
  read -r _ <&3
  kill -KILL $server
} &
watcher=$!
wait $server 2>/dev/null
code=$?
if [ $code -ne 137 ]; then
  tail -n 20 "$directory/log" >&2
fi
kill $watcher 2>/dev/null
rm -rf "$directory"
for port in $ports; do
  rm -f /tmp/seaweedfs-*-grpc-"$port".sock
done
exit $code
