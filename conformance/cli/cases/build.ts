/** `docker build` by the classic protocol, which both clients speak here (buildx is a program of its own). */
import type { CliCase } from '../case.ts'

const context = "mkdir ctx; echo hello > ctx/f; printf 'FROM bb:1\\nARG WHO=nobody\\nCOPY f /f\\nRUN echo $WHO > /who\\nLABEL a=b\\nCMD [\"cat\",\"/f\",\"/who\"]\\n' > ctx/Dockerfile"

export const buildCases: readonly CliCase[] = [
  { name: 'build/output of a build', lines: [context, 'docker build ctx 2>&1', 'docker build -t built:1 ctx 2>&1', 'docker run --rm built:1', 'docker history built:1 --format "{{.CreatedBy}} {{.Size}}"', 'docker image inspect -f "{{json .Config.Cmd}} {{json .Config.Labels}}" built:1'] },
  {
    name: 'build/flags',
    lines: [
      context, 'docker build -q -t built:1 -t built:two ctx | cut -c1-7', 'docker image build --quiet --tag built:3 --build-arg WHO=me --label x=y --file ctx/Dockerfile ctx | cut -c1-7', 'docker run --rm built:3', 'docker image inspect -f "{{json .Config.Labels}}" built:3', 'docker builder build -q --iidfile id --no-cache ctx | cut -c1-7', 'cut -c1-7 id', 'docker build -q --pull=false --rm=false --force-rm ctx | cut -c1-7', 'docker ps -aq | wc -l',
      "printf 'FROM bb:1 AS one\\nRUN echo one > /x\\nFROM bb:1 AS two\\nRUN echo two > /x\\n' | docker build -q --target one -t t:1 - | cut -c1-7", 'docker run --rm t:1 cat /x', "printf 'FROM bb:1\\nRUN cat /etc/hosts | grep 192.0.2 > /h; cat /proc/sys/net/ipv4/conf/all/forwarding > /dev/null; ulimit -n > /u; df -k /dev/shm | tail -1 > /s\\n' | docker build -q --add-host far:192.0.2.7 --network none --ulimit nofile=99:99 --shm-size 32m -t hosts:1 - | cut -c1-7",
      'docker run --rm hosts:1 sh -c "cat /h /u"', "printf 'FROM bb:1\\nRUN cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us /sys/fs/cgroup/cpuset/cpuset.cpus > /l\\n' | docker build -q --memory 64m --memory-swap 128m --cpu-shares 512 --cpu-period 50000 --cpu-quota 20000 --cpuset-cpus 0 --cpuset-mems 0 --cgroup-parent /berth-cli-build -t limits:1 - | cut -c1-7", 'docker run --rm limits:1 cat /l',
      'docker build -q --compress --cache-from built:1 --disable-content-trust --isolation default ctx | cut -c1-7', '! docker build -q --security-opt nonsense=1 ctx', '! docker build -q --squash ctx', 'docker build -q --platform linux/amd64 ctx | cut -c1-7',
    ],
  },
  { name: 'build/prune', lines: [context, 'docker build -q ctx | cut -c1-7', 'docker builder prune -f | tail -1 | cut -c1-6', 'docker builder prune --all --force --filter until=24h | tail -1', 'docker builder prune -af --keep-storage 1GB | tail -1', 'echo n | docker builder prune', 'docker build -q ctx | cut -c1-7'] },
  {
    name: 'build/refusals',
    lines: ['! docker build nosuch', 'mkdir empty; ! docker build empty', "echo 'NOPE x' | (! docker build - 2>&1)", "printf 'FROM nosuch:1\\n' | docker build -q --pull=false - 2>&1 | sed 's/dial tcp.*//' | cut -c1-40", "printf 'FROM bb:1\\nRUN exit 3\\n' | (! docker build - 2>&1)", "printf 'FROM bb:1\\nCOPY nosuch /\\n' | (! docker build - 2>&1)", "printf '' | (! docker build - 2>&1)", "printf 'FROM bb:1\\n' | (! docker build -t BAD - 2>&1)", "printf 'FROM bb:1\\n' | (! docker build --target nosuch - 2>&1)", "printf 'FROM bb:1\\nRUN nosuch\\n' | (! docker build - 2>&1)", context, 'docker build -q --build-arg UNUSED=1 ctx 2>&1 | sed s/sha256:.*/sha256/', '! docker build -f nosuch ctx'],
  },
]
