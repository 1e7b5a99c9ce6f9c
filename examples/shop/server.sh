# Serves /www. Says that it is ready by a file that the readiness probe asks for; takes the file away when told to stop,
# serves what is still coming for a moment, and ends.
if [ "$VERSION" != v3 ]; then echo ready > /www/ready; fi
httpd -f -p 8080 -h /www &
server=$!
trap 'rm -f /www/ready; sleep 2; kill $server; exit 0' TERM
while kill -0 $server 2>/dev/null; do wait $server; done
