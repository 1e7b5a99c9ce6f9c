/** What flows: logs, attach, exec, cp, top, stats, terminals and detaching. */
import type { CliCase } from '../case.ts'

/** What a syslog server received, without times and process ids. */
const tidy = String.raw`eventually grep -q end lines; sed -E 's/^(<[0-9]+>)(1 )?([A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8}|[0-9T:.+Z-]+) /\1\2TIME /; s/\[[0-9]+\]/[PID]/; s/ [0-9]+ / PID /' lines; : >lines`

export const streamCases: readonly CliCase[] = [
  {
    name: 'streams/logs',
    lines: [
      // Two containers: in which order a log gets what goes to stdout and to stderr at the same time is anybody's guess.
      'docker run --name c1 --log-opt labels=x --label x=y bb:1 sh -c "for i in 1 2 3; do echo out \\$i; done"', 'docker logs c1 2>/dev/null', 'docker run --name err bb:1 sh -c "echo err >&2"; docker logs err 2>&1 >/dev/null; docker logs err 2>/dev/null', 'docker logs --tail 2 c1 2>/dev/null', 'docker container logs -n 0 c1', 'docker logs --timestamps --tail 1 c1 2>/dev/null', 'docker logs -f c1 2>/dev/null', 'docker logs --details c1 2>/dev/null', 'docker logs --since 10m --until 1m c1', 'docker logs --since 2020-01-01T00:00:00Z c1 2>/dev/null | wc -l', 'docker logs --until 2020-01-01 c1', '! docker logs nosuch', '! docker logs --since nonsense c1', 'docker logs --tail nonsense c1 2>/dev/null',
      'docker run -d --name c2 bb:1 sh -c "echo a; sleep 1; echo b" >/dev/null', 'docker logs --follow c2', 'docker create --name c3 bb:1 >/dev/null; docker logs c3', 'docker run -d --log-driver none --name c4 bb:1 echo x >/dev/null; ! docker logs c4',
    ],
  },
  {
    name: 'streams/exec',
    lines: [
      'docker run -d --name c1 -e A=b -w /tmp bb:1 sleep 100 >/dev/null', 'docker exec c1 sh -c "echo $A; pwd; id"', 'docker exec --env C=d -e A=x --workdir /etc --user bob c1 sh -c "echo $C $A; pwd; id -un"', 'echo "E=f" > e.txt; docker exec --env-file e.txt c1 sh -c "echo $E" ; docker exec --env-file e.txt c1 env | grep ^E=f', 'echo typed | docker exec -i c1 cat', 'docker exec --interactive=false c1 cat', '! docker exec c1 sh -c "exit 9"', 'docker exec c1 nosuch; echo $?', '! docker exec c1 /etc/passwd', '! docker exec -w /nosuch c1 true', '! docker exec -u nosuch c1 true', '! docker exec nosuch true',
      'docker exec --detach c1 sh -c "echo bg > /tmp/bg"; eventually docker exec c1 cat /tmp/bg; docker exec c1 cat /tmp/bg', 'docker exec --privileged c1 grep CapEff /proc/self/status | sed "s/[0-9a-f]\\{16\\}/all/"', 'docker container exec --tty c1 tty', '! docker exec -it c1 tty', 'docker exec --detach-keys ctrl-a c1 true', 'docker exec c1 sh -c "echo out; echo err >&2" 2>/dev/null', 'docker stop -t 0 c1; ! docker exec c1 true', '! docker exec c1', 'docker create --name c2 bb:1 >/dev/null; ! docker exec c2 true',
    ],
  },
  {
    name: 'streams/attach and start',
    lines: [
      'docker run -d --name c1 -i bb:1 sh -c "read x; echo got $x; exit 3" >/dev/null', 'docker run -d --name c1b -i bb:1 sh -c "read x; echo got \\$x; exit 3" >/dev/null; echo word | (docker attach c1b; echo $?)', '! docker attach c1b', '! docker attach nosuch', 'docker create --name c2 -i bb:1 cat >/dev/null; echo typed | docker start --attach --interactive c2', 'docker create --name c3 bb:1 sh -c "echo out; echo err >&2; exit 4" >/dev/null; ! docker start -a c3', 'docker container attach --no-stdin --sig-proxy=false c1 & sleep 0.5; docker kill c1; wait', 'docker start --detach-keys ctrl-x -a c3; docker container start -ai c2 </dev/null', '! docker start -a nosuch', '! docker start -a c2 c3', 'docker start c2 c3', '! docker start c2 nosuch',
      'docker run -d --name c4 bb:1 sh -c "trap \'echo term; exit 5\' TERM; echo ready; while :; do sleep 0.1; done" >/dev/null; eventually sh -c "docker logs c4 | grep ready"; docker attach c4 & P=$!; sleep 0.7; kill -TERM $P; wait $P; docker wait c4',
    ],
  },
  {
    name: 'streams/terminals and detaching',
    lines: [
      // A program without line editing: its output does not depend on when the window's size arrives.
      "printf 'tty; until [ \"$(stty size 2>/dev/null)\" = \"33 99\" ]; do sleep 0.1; done; echo ready; while read l; do case $l in q*) exit ${l#q};; *) echo got $l;; esac; done' > loop",
      "pty ready 'x\\n' 'got x' 'q7\\n' -- docker run -it --rm bb:1 sh -c \"$(cat loop)\"; echo $?", "pty ready '\\x10\\x11' -- docker run -it --name c1 bb:1 sh -c \"$(cat loop)\"; echo $?", 'docker ps --format "{{.Names}}"', 'docker rm -f c1', "docker run -d --name c2 bb:1 sleep 100 >/dev/null; pty ready 'q4\\n' -- docker exec -it c2 sh -c \"$(cat loop)\"; echo $?", "pty ready '\\x10\\x11' -- docker exec -it c2 sh -c \"$(cat loop)\"; echo $?", "docker create -it --name c3 bb:1 sh -c \"$(cat loop)\" >/dev/null; pty ready 'q6\\n' -- docker start -ai c3; echo $?", "pty ready '\\x05e' -- docker run -it --rm --detach-keys ctrl-e,e bb:1 sh -c \"$(cat loop)\"; echo $?", '! docker run -it --rm bb:1 sh', '! docker exec -it c2 sh',
    ],
  },
  {
    name: 'streams/cp',
    lines: [
      'docker create --name c1 bb:1 >/dev/null', 'mkdir -p d/sub; echo one > d/one; echo two > d/sub/two; ln -s one d/link; chmod 640 d/one', 'docker cp d c1:/tmp', 'docker cp d/. c1:/home', 'docker cp d/one c1:/tmp/renamed', 'docker cp c1:/tmp/d out; find out | sort; cat out/one', 'docker cp c1:/tmp/d/link -  | tar -t', 'docker cp --follow-link c1:/tmp/d/link followed; cat followed', 'docker cp -L d/link c1:/tmp/followed', 'docker cp --archive d/one c1:/tmp/kept', 'tar -C d -c one | docker cp - c1:/root', 'docker container cp c1:/root/one - | tar -xO', '! docker cp c1:/nosuch .', '! docker cp nosuch c1:/', '! docker cp nosuch:/x .', // A client complains of the pipe as well when it gives up before it has written all: no engine decides that.
      'docker cp d c1:/nosuch/dir/ 2>err; echo $?; grep -v "closed pipe" err', 'docker cp d/one c1:/nosuch/dir/ 2>err; echo $?; grep -v "closed pipe" err', '! docker cp c1:/x c1:/y', 'docker cp d c1:/etc/passwd 2>err; echo $?; grep -v "closed pipe" err', '! docker cp c1:/tmp/d/ /mnt/case/d/one', 'docker cp c1:/etc/passwd /mnt/case/d; cat d/passwd', '! docker cp - c1:/etc/passwd </dev/null', 'docker start c1 >/dev/null; docker export c1 | tar -t | grep -E "^(tmp|root|home)/" | sort', 'docker export c1 | tar -tv tmp/d/one | cut -c1-10',
    ],
  },
  { name: 'streams/cp --quiet', clients: ['28'], lines: ['docker create --name c1 bb:1 >/dev/null', 'echo x > f; docker cp --quiet f c1:/f', 'docker container cp -q c1:/f g; cat g'] },
  { name: 'streams/diff', lines: ['docker run --name c1 bb:1 sh -c "echo x > /new; rm /etc/group; echo y >> /etc/passwd; mkdir /dir; touch /dir/f; chmod 700 /home"', 'docker diff c1 | sort', 'docker container diff c1 | sort', '! docker diff nosuch', 'docker create --name c2 bb:1 >/dev/null; docker diff c2'] },
  { name: 'streams/attach by its other name', lines: ['docker container run -d --name c1 bb:1 sleep 100 >/dev/null', '(sleep 0.5; docker kill c1 >/dev/null) & docker container attach --no-stdin --detach-keys ctrl-x c1; echo $?', 'docker context ls --quiet'] },
  { name: 'streams/top and stats', lines: ['docker run -d --name c1 -m 64m bb:1 sleep 100 >/dev/null', '! docker top c1 -o args', '! docker container top c1 -eo comm', 'docker top c1 | head -1', '! docker top nosuch', '! docker top c1 -o nonsense', 'docker stats --no-stream --format "{{.Name}} {{.PIDs}} {{.Container}}" c1', "docker container stats --no-stream --all --no-trunc --format '{{.ID}} {{.Name}}'", 'docker stats --no-stream c1 | head -1', '! docker stats --no-stream nosuch', 'docker stop -t 0 c1 >/dev/null; docker stats --no-stream --format "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}" c1', '! docker top c1'] },
  { name: 'streams/health', lines: ["docker run -d --name c1 --health-cmd 'test -e /ok' --health-interval 200ms --health-retries 2 bb:1 sh -c 'sleep 1; touch /ok; sleep 100' >/dev/null", "eventually sh -c 'docker inspect -f {{.State.Health.Status}} c1 | grep -x healthy'", 'docker ps --format "{{.Names}} {{.Status}}" -f health=healthy', 'docker exec c1 rm /ok', "eventually sh -c 'docker inspect -f {{.State.Health.Status}} c1 | grep -x unhealthy'", `docker inspect -f "{{.State.Health.Status}} {{json .State.Health.Log}}" c1 | sed 's/ .*ExitCode":\\([0-9]*\\).*/ \\1/'`, 'docker ps --format "{{.Status}}"'] },
  {
    name: 'streams/syslog',
    lines: [
      `python3 -c "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 5514)); f = open('lines', 'ab', 0); print(1, flush=True)\nwhile 1: f.write(s.recv(9999))" >up 2>&1 & echo $! >pid; eventually test -s up`,
      'docker run --name c1 --hostname box --log-driver syslog --log-opt syslog-address=udp://127.0.0.1:5514 bb:1 sh -c "echo one; echo; sleep 0.2; echo two >&2; sleep 0.2; echo end"', `${tidy}`, 'docker logs c1', "docker inspect -f '{{json .HostConfig.LogConfig}} {{.LogPath}}' c1",
      'docker run --name c2 --log-driver syslog --log-opt syslog-address=udp://127.0.0.1:5514 --log-opt syslog-format=rfc5424 --log-opt syslog-facility=local3 --log-opt tag="{{.Name}}/{{.ImageName}}" bb:1 echo end', `${tidy}`, 'docker run --name c3 --log-driver syslog --log-opt syslog-address=udp://127.0.0.1:5514 --log-opt syslog-format=rfc3164 --label a=b --log-opt labels=a --log-opt tag=t bb:1 echo end', `${tidy}`, 'docker logs --details c3', 'kill $(cat pid)',
      '! docker run --log-driver syslog --log-opt syslog-address=http://x bb:1 true', '! docker run --log-driver syslog --log-opt syslog-facility=odd bb:1 true', '! docker run --log-driver syslog --log-opt syslog-format=odd bb:1 true', '! docker run --log-driver syslog --log-opt odd=x bb:1 true', '! docker run --log-driver journald --log-opt odd=x bb:1 true', '! docker run --log-driver journald bb:1 true', 'docker run --log-driver syslog --log-opt syslog-address=tcp://127.0.0.1:5599 bb:1 true 2>/dev/null; echo $?', '! docker run --log-driver odd bb:1 true',
    ],
  },
]
