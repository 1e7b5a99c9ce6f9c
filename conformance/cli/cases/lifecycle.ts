/** A container's life: create, start, stop, restart, kill, pause, rename, wait, remove, prune, update, and the lists that show it. */
import type { CliCase } from '../case.ts'

const columns = "--format '{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Status}} {{.Ports}} {{.Labels}} {{.Mounts}} {{.Networks}} {{.LocalVolumes}} {{.RunningFor}} {{.ID}}'"

export const lifecycleCases: readonly CliCase[] = [
  {
    name: 'lifecycle/create, start, stop, start again, remove',
    lines: [
      'docker create --name c1 bb:1 sleep 100',
      `docker ps -a ${columns}`,
      'docker start c1',
      `docker ps ${columns}`,
      'docker start c1',
      'docker stop -t 0 c1',
      'docker stop c1',
      `docker ps -a ${columns}`,
      'docker start c1',
      '! docker rm c1',
      'docker rm -f c1',
      '! docker rm c1',
      'docker rm -f c1',
    ],
  },
  {
    name: 'lifecycle/the same by the commands below container',
    lines: [
      'docker container create --name c1 -v keep:/v -v /anonymous bb:1 sleep 100',
      'docker container start c1',
      'docker container ls -a',
      'docker container list -q --no-trunc',
      'docker container pause c1',
      'docker container ls',
      'docker container unpause c1',
      'docker container restart -t 0 c1',
      'docker container rename c1 d1',
      'docker container kill -s KILL d1',
      'docker container wait d1',
      'docker container start d1',
      'docker container stop -t 0 d1',
      'docker container rm -v d1',
      'docker volume ls',
      'docker container prune -f',
    ],
  },
  {
    name: 'lifecycle/stop signals and grace',
    lines: [
      'docker run -d --name c1 --stop-signal USR1 bb:1 sh -c "trap \'exit 7\' USR1; while :; do sleep 0.1; done"',
      'sleep 0.5; docker stop c1',
      "docker inspect -f '{{.State.ExitCode}} {{.State.Status}} {{.Config.StopSignal}}' c1",
      'docker run -d --name d1 --stop-timeout 1 bb:1 sh -c "trap \'\' TERM; while :; do sleep 0.1; done"',
      'sleep 0.5; docker stop d1',
      "docker inspect -f '{{.State.ExitCode}} {{.Config.StopTimeout}}' d1",
      'docker start nosuch; docker restart --time 0 d1 || docker restart -t 0 d1',
      '! docker kill --signal=HUP c1',
      'docker kill --signal 9 d1',
      "eventually sh -c '[ $(docker inspect -f {{.State.ExitCode}} d1) = 137 ]'",
      '! docker kill -s NOPE d1',
      'docker stop --time 0 c1 d1', '! docker stop nosuch c1',
    ],
  },
  {
    name: 'lifecycle/stop and restart take a signal',
    clients: ['28'],
    lines: ['docker run -d --name c1 bb:1 sleep 100', 'docker stop --signal KILL c1', 'docker restart --signal KILL c1', 'docker restart --timeout 0 c1', 'docker stop --timeout 0 c1'],
    exitCodesAt150: { 1: 0, 2: 0 },
  },
  {
    name: 'lifecycle/pause holds, unpause goes on',
    lines: ['docker run -d --name c1 bb:1 sleep 100', 'docker pause c1', '! docker pause c1', 'docker ps --format "{{.Status}}"', '! docker exec c1 true', 'docker stop -t 0 c1', '! docker unpause c1', '! docker pause c1'],
  },
  {
    name: 'lifecycle/rename',
    lines: ['docker create --name a1 bb:1', 'docker create --name b1 bb:1', '! docker rename a1 b1', 'docker rename a1 c1', '! docker rename nosuch x', "! docker rename c1 ''", '! docker rename c1 "bad name"', '! docker rename c1 c1', 'docker ps -a --format "{{.Names}}"'],
  },
  {
    name: 'lifecycle/wait gives exit codes',
    lines: ['docker run -d --name a1 bb:1 sh -c "exit 3"', 'docker run -d --name b1 bb:1 sh -c "sleep 0.5; exit 4"', 'docker wait a1 b1', '! docker wait nosuch', 'docker create --name never bb:1', 'docker wait never'],
  },
  {
    name: 'lifecycle/lists and their filters',
    lines: [
      'docker run -d --name up -l tier=web -p 8080:80 -v keep:/v --expose 99 bb:1 sleep 100',
      '! docker run --name down -l tier=db bb:1 false',
      'docker create --name made bb:1',
      'docker ps', 'docker ps -a', 'docker ps -aq', 'docker ps --no-trunc', 'docker ps -l', 'docker ps -n 2', 'docker ps --last 1', 'docker ps --latest --quiet',
      "docker ps -a --filter status=exited --format '{{.Names}}'", "docker ps -a -f exited=1 --format '{{.Names}}'", "docker ps -a -f label=tier=web --format '{{.Names}}'", "docker ps -a -f label=tier --format '{{.Names}}'",
      "docker ps -a -f name=ma --format '{{.Names}}'", "docker ps -a -f ancestor=bb:1 --format '{{.Names}}'", "docker ps -a -f before=made --format '{{.Names}}'", "docker ps -a -f since=up --format '{{.Names}}'",
      "docker ps -f volume=keep --format '{{.Names}}'", "docker ps -f network=bridge --format '{{.Names}}'", "docker ps -f publish=8080 --format '{{.Names}}'", "docker ps -f expose=99 --format '{{.Names}} {{.Ports}}'",
      "docker ps -a -f health=none --format '{{.Names}}'", "docker ps -f is-task=true", '! docker ps -f status=odd', '! docker ps -f odd=1', '! docker ps -f odd', "! docker ps -a -f before=nosuch",
      "docker ps --format '{{json .}}' -a -f name=made", "docker ps -a --format 'table {{.Names}}\\t{{.Label \"tier\"}}'", 'docker ps --size --format "{{.Names}}"',
    ],
  },
  {
    name: 'lifecycle/prune',
    lines: ['docker create --name a1 -l keep=1 bb:1', 'docker run --name b1 bb:1 true', 'docker run -d --name c1 bb:1 sleep 100', 'docker container prune -f --filter label!=keep', 'docker container prune --force --filter until=1h', 'docker container prune -f', 'echo n | docker container prune', 'docker container prune -f', 'docker ps -a --format "{{.Names}}"', '! docker container prune -f --filter odd=1'],
  },
  {
    name: 'lifecycle/update',
    lines: [
      'docker run -d --name c1 -m 64m bb:1 sleep 100',
      'docker update --cpu-shares 512 --cpu-period 50000 --cpu-quota 25000 --cpuset-cpus 0 --cpuset-mems 0 --memory 128m --memory-reservation 64m --memory-swap 256m --pids-limit 50 --restart on-failure:3 c1',
      'docker exec c1 sh -c "cat /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us /sys/fs/cgroup/cpuset/cpuset.cpus /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory/memory.soft_limit_in_bytes /sys/fs/cgroup/pids/pids.max"',
      "docker inspect -f '{{json .HostConfig}}' c1",
      '! docker container update --cpus 1 c1',
      '! docker update --cpus 0.5 --cpu-quota 0 --cpu-period 0 c1',
      'docker update --blkio-weight 300 c1',
      'docker update --cpu-rt-period 1000000 c1', 'docker update --cpu-rt-runtime 95000 c1 || true',
      '! docker update --memory 1k c1', '! docker update --restart nonsense c1', '! docker update nosuch --cpu-shares 4', '! docker update c1',
      'docker update --restart always --pids-limit -1 c1', "docker inspect -f '{{json .HostConfig.RestartPolicy}} {{.HostConfig.PidsLimit}}' c1",
    ],
  },
  { name: 'lifecycle/update of kernel memory', clients: ['20.10'], lines: ['docker run -d --name c1 bb:1 sleep 100', 'docker update --kernel-memory 50m c1'] },
  {
    name: 'lifecycle/restart policies',
    lines: [
      'docker run -d --name f1 --restart on-failure:2 bb:1 false',
      "eventually sh -c '[ \"$(docker inspect -f \"{{.RestartCount}} {{.State.Status}}\" f1)\" = \"2 exited\" ]'",
      'docker run -d --name a1 --restart always bb:1 sleep 100', 'docker kill a1', "docker inspect -f '{{.HostConfig.RestartPolicy}}' a1 f1",
      '! docker run --rm --restart always bb:1 true', '! docker run --restart odd bb:1 true', '! docker run --restart no:3 bb:1 true', '! docker run --restart on-failure:-1 bb:1 true', '! docker run --restart always:3 bb:1 true',
    ],
  },
  {
    name: 'lifecycle/rm of several, of links, with volumes',
    lines: ['docker create --name a1 bb:1', 'docker create --name b1 bb:1', '! docker rm a1 nosuch b1', 'docker run -d --name db bb:1 sleep 100', 'docker run -d --name web --link db:database bb:1 sleep 100', 'docker exec web grep database /etc/hosts', "docker exec web sh -c 'env | grep -i database | sort'", 'docker rm --link web/database', 'docker rm --force --volumes web db'],
  },
  {
    name: 'lifecycle/inspect of a container that ran',
    lines: ['docker run --name c1 bb:1 echo hi', 'docker inspect c1', 'docker container inspect -s -f "{{.SizeRootFs}}" c1', 'docker inspect --size --type container --format "{{.Name}}" c1', '! docker inspect --type image c1', '! docker inspect nosuch', '! docker inspect c1 bb:1 nosuch -f "{{.Id}}"', '! docker container inspect nosuch', '! docker inspect -f "{{.Nope}}" c1', '! docker inspect --type odd c1'],
  },
  // The kernel may give notice of one kill twice; a running container's OOMKilled is true at once since moby 25, with 20.10 only when it ended.
  {
    name: 'lifecycle/memory runs out and the container lives',
    lines: [
      'docker run -d --name c1 --memory 16m bb:1 sh -c "dd if=/dev/zero of=/dev/null bs=64M count=1; echo lived; read x; sleep 100" >/dev/null', "eventually sh -c 'docker events --since 1h --until $(($(date +%s) + 1)) --filter container=$(docker inspect -f {{.Id}} c1) --filter event=oom | grep oom'", "docker inspect -f '{{.State.Status}}' c1", 'docker kill c1', "docker events --since 1h --until $(($(date +%s) + 1)) --filter container=$(docker inspect -f {{.Id}} c1) --filter event=oom --filter event=die --format '{{.Action}}' | uniq", "docker inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' c1", 'docker start c1 >/dev/null', 'docker run --name c2 --memory 16m bb:1 dd if=/dev/zero of=/dev/null bs=64M count=1; echo $?', "docker events --since 1h --until $(($(date +%s) + 1)) --filter container=$(docker inspect -f {{.Id}} c2) --filter event=oom --filter event=die --format '{{.Action}}' | uniq", "docker inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' c2",
    ],
  },
]
