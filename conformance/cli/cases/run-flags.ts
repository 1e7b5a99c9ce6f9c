/**
 * Every flag of `docker run` and `docker create`: what inspect says of it before and after the start, and what the container sees. Each
 * case goes through `create` + `start -a` and through `run`.
 */
import type { CliCase, ClientName } from '../case.ts'

interface FlagCase {
  readonly flags: string
  /** Shell text run in the container; absent: `true`. */
  readonly sees?: string
  readonly before?: readonly string[]
  readonly clients?: readonly ClientName[]
  /** dockerd refuses to create (`create`) or to start (`start`). */
  readonly refused?: 'create' | 'start'
  /** The container's command ends with an error. */
  readonly fails?: true
  readonly exitCodesAt150?: Readonly<Record<number, number>>
}

/** What inspect tells of the flags: Config, HostConfig and network as the engine sends them, then the mounts, which dockerd keeps in a map of Go's and tells in no order. */
const told = "docker inspect -f '{{json .Config}}|{{json .HostConfig}}|{{json .NetworkSettings.Ports}}|{{json .NetworkSettings.Networks}}|{{.Platform}}|{{.AppArmorProfile}}|{{.MountLabel}}|{{.Driver}}' NAME | sed 's/,\"/,\\n\"/g'; docker inspect -f '{{range .Mounts}}{{json .}}{{println}}{{end}}' NAME | sort | sed 's/,\"/,\\n\"/g'"

function flagCase(name: string, { flags, sees, before = [], clients, refused, fails, exitCodesAt150 }: FlagCase): CliCase {
  const command = sees === undefined ? 'true' : `sh -c ${quoted(sees)}`
  const not = (when: boolean): string => (when ? '! ' : '')
  return {
    name: `run-flags/${name}`,
    ...(clients === undefined ? {} : { clients }),
    ...(exitCodesAt150 === undefined ? {} : { exitCodesAt150 }),
    lines: [
      ...before,
      `${not(refused === 'create')}docker create --name made ${flags} bb:1 ${command} >/dev/null`,
      ...(refused === 'create' ? [] : [told.replaceAll('NAME', 'made'), `${not(refused === 'start' || fails === true)}docker start -a made`]),
      ...(refused === undefined ? ['docker rm made >/dev/null'] : []),
      `${not(refused !== undefined || fails === true)}docker run --name ran ${flags} bb:1 ${command}`,
      ...(refused === 'create' ? [] : [told.replaceAll('NAME', 'ran')]),
    ],
  }
}

/** Flags that dockerd 20.10 refuses at the start, Berth and later dockerds at the creation: there is no container to be told of. */
function refusedSooner(name: string, flags: string): CliCase {
  return {
    name: `run-flags/${name}`,
    lines: [`! docker create --name made ${flags} bb:1 true >/dev/null && docker start -a made`, `! docker run --name ran ${flags} bb:1 true`, "docker ps -a --format '{{.Names}} {{.State}}'"],
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

const cg = '/sys/fs/cgroup'

export const runFlagCases: readonly CliCase[] = [
  flagCase('none', { flags: '', sees: 'id; pwd; env | sort; hostname | wc -c; cat /proc/1/comm; ls /dev; cat /etc/hosts /etc/resolv.conf; ulimit -n; grep -E "^(Cap|NoNew|Seccomp:)" /proc/self/status; cat /proc/self/oom_score_adj' }),
  flagCase('mounts of a container without flags', { flags: '', sees: "awk '{print $5, $6, $9}' /proc/self/mountinfo | grep -v 'overlay'; ls /proc/sys >/dev/null; cat /proc/kcore; echo x > /proc/sys/kernel/shmmax" , fails: true }),
  flagCase('add-host', { flags: '--add-host one:192.0.2.1 --add-host two:192.0.2.2', sees: 'grep 192.0.2 /etc/hosts' }),
  flagCase('add-host, host-gateway', { flags: '--add-host gw:host-gateway', sees: 'grep gw /etc/hosts' }),
  flagCase('add-host, wrong', { flags: '--add-host nonsense', refused: 'create' }),
  flagCase('annotation', { flags: '--annotation a=b', clients: ['28'], refused: 'create', exitCodesAt150: { 0: 0, 1: 0 } }),
  flagCase('blkio', { flags: '--blkio-weight 300 --blkio-weight-device /dev/vda:400 --device-read-bps /dev/vda:1mb --device-write-bps /dev/vda:2mb --device-read-iops /dev/vda:100 --device-write-iops /dev/vda:200', sees: `cat ${cg}/blkio/blkio.throttle.read_bps_device ${cg}/blkio/blkio.throttle.write_bps_device ${cg}/blkio/blkio.throttle.read_iops_device ${cg}/blkio/blkio.throttle.write_iops_device` }),
  flagCase('blkio-weight out of range', { flags: '--blkio-weight 5' }),
  flagCase('cap-add and cap-drop', { flags: '--cap-add NET_ADMIN --cap-add SYS_TIME --cap-drop CHOWN --cap-drop CAP_KILL', sees: 'grep Cap /proc/self/status' }),
  flagCase('cap-drop ALL', { flags: '--cap-drop all --cap-add net_raw', sees: 'grep Cap /proc/self/status' }),
  flagCase('cap-add unknown', { flags: '--cap-add NONSENSE', refused: 'create' }),
  flagCase('cgroup-parent', { flags: '--cgroup-parent /berth-cli-parent', sees: 'cut -d: -f2 /proc/self/cgroup | sort' }),
  flagCase('cgroupns', { flags: '--cgroupns private', sees: 'true' }),
  flagCase('cgroupns host', { flags: '--cgroupns host', sees: 'true' }),
  flagCase('cgroupns wrong', { flags: '--cgroupns odd', refused: 'create' }),
  flagCase('cpu', { flags: '--cpu-shares 512 --cpu-period 50000 --cpu-quota 20000 --cpuset-cpus 0 --cpuset-mems 0', sees: `cat ${cg}/cpu/cpu.shares ${cg}/cpu/cpu.cfs_period_us ${cg}/cpu/cpu.cfs_quota_us ${cg}/cpuset/cpuset.cpus ${cg}/cpuset/cpuset.mems` }),
  flagCase('cpus', { flags: '--cpus 0.75', sees: `cat ${cg}/cpu/cpu.cfs_period_us ${cg}/cpu/cpu.cfs_quota_us` }),
  flagCase('cpus, too many', { flags: '--cpus 1000', refused: 'create' }),
  flagCase('cpus and quota', { flags: '--cpus 1 --cpu-quota 1000', refused: 'create' }),
  flagCase('cpuset-cpus, not there', { flags: '--cpuset-cpus 99', refused: 'create' }),
  flagCase('cpu real time', { flags: '--cpu-rt-period 1000000 --cpu-rt-runtime 95000', refused: 'start' }),
  flagCase('device', { flags: '--device /dev/null:/dev/nothing:rw --device /dev/zero', sees: 'ls -l /dev/nothing /dev/zero | cut -c1-10' }),
  flagCase('device, not there', { flags: '--device /dev/nosuch', refused: 'start' }),
  flagCase('device-cgroup-rule', { flags: "--device-cgroup-rule 'c 42:* rmw'", sees: `grep 42 ${cg}/devices/devices.list` }),
  flagCase('disable-content-trust', { flags: '--disable-content-trust' }),
  flagCase('dns', { flags: '--dns 192.0.2.53 --dns-search example.test --dns-option ndots:3', sees: 'cat /etc/resolv.conf' }),
  flagCase('dns wrong', { flags: '--dns nonsense', refused: 'create' }),
  flagCase('hostname and domainname', { flags: '--hostname box --domainname example.test', sees: 'hostname; cat /proc/sys/kernel/domainname; cat /etc/hostname; tail -1 /etc/hosts' }),
  flagCase('entrypoint', { flags: "--entrypoint '/bin/echo'" , sees: 'said' }),
  flagCase('entrypoint cleared', { flags: "--entrypoint ''" }),
  // One variable each: client 20.10 sends several in no order.
  flagCase('env of the client', { flags: '-e LANG', sees: 'env | sort' }),
  flagCase('env, env-file', { flags: '--env A=1 --env-file e.txt', before: ['printf "C=3\\n# no\\nD\\n" > e.txt; true'], sees: 'env | sort' }),
  flagCase('expose', { flags: '--expose 80 --expose 90-92/udp', sees: 'true' }),
  flagCase('gpus', { flags: '--gpus all', refused: 'start' }),
  flagCase('group-add', { flags: '--group-add staff --group-add 77 --user bob', sees: 'id' }),
  flagCase('group-add unknown', { flags: '--group-add nosuch', refused: 'start' }),
  flagCase('health', { flags: "--health-cmd 'true' --health-interval 1s --health-retries 2 --health-start-period 1s --health-timeout 2s" }),
  flagCase('health start interval', { flags: "--health-cmd 'true' --health-start-interval 1s", clients: ['28'], refused: 'create', exitCodesAt150: { 0: 0, 1: 0 } }),
  flagCase('no-healthcheck', { flags: '--no-healthcheck' }),
  flagCase('health wrong', { flags: '--health-cmd true --health-interval 1us', refused: 'create' }),
  flagCase('init', { flags: '--init', sees: 'cat /proc/1/comm' }),
  flagCase('interactive', { flags: '--interactive=false', sees: 'cat; echo done' }),
  flagCase('ip in a network', { flags: '--network shop --ip 10.99.0.9 --network-alias other --link-local-ip 169.254.8.8', before: ['docker network create --subnet 10.99.0.0/24 shop >/dev/null'], sees: 'ip -4 addr show eth0 | grep inet; ip route' }),
  refusedSooner('ip in the default network', '--ip 172.17.0.9'),
  flagCase('ip6', { flags: '--network six --ip6 fd00:99::9', before: ['docker network create --ipv6 --subnet fd00:99::/64 --subnet 10.98.0.0/24 six >/dev/null'], sees: 'ip -6 addr show eth0 scope global | grep inet6' }),
  flagCase('ipc private', { flags: '--ipc private', sees: 'df -k /dev/shm | tail -1 | cut -c1-30' }),
  flagCase('ipc host', { flags: '--ipc host' }),
  flagCase('ipc none', { flags: '--ipc none', sees: 'ls /dev/shm', fails: true }),
  flagCase('ipc shareable and of a container', { flags: '--ipc container:other', before: ['docker run -d --name other --ipc shareable bb:1 sh -c "echo x > /dev/shm/f; sleep 100"', 'eventually docker exec other cat /dev/shm/f'], sees: 'cat /dev/shm/f' }),
  refusedSooner('ipc wrong', '--ipc odd'),
  flagCase('isolation', { flags: '--isolation default' }),
  flagCase('isolation wrong', { flags: '--isolation hyperv', refused: 'create' }),
  flagCase('kernel-memory', { flags: '--kernel-memory 50m' }),
  flagCase('label, label-file', { flags: '--label a=b -l c --label-file l.txt', before: ['printf "d=e\\nf\\n" > l.txt; true'] }),
  flagCase('log-driver json-file with options', { flags: '--log-driver json-file --log-opt max-size=10k --log-opt max-file=2' , sees: 'echo logged' }),
  flagCase('log-driver none', { flags: '--log-driver none', sees: 'echo said' }),
  flagCase('log-driver local', { flags: '--log-driver local', sees: 'echo said' }),
  flagCase('log-driver unknown', { flags: '--log-driver odd', refused: 'create' }),
  flagCase('log-opt unknown', { flags: '--log-opt odd=1', refused: 'create' }),
  flagCase('mac-address', { clients: ['20.10'], flags: '--mac-address 02:42:ac:11:00:99', sees: 'ip link show eth0 | grep -o "ether [0-9a-f:]*"' }),
  { name: 'run-flags/mac-address of client 28', clients: ['28'], lines: ['! docker run --rm --mac-address 02:42:ac:11:00:99 bb:1 true', '! docker create --mac-address 02:42:ac:11:00:99 bb:1'], exitCodesAt150: { 0: 0, 1: 0 } },
  flagCase('mac-address wrong', { flags: '--mac-address nonsense', refused: 'create' }),
  flagCase('memory', { flags: '--memory 64m --memory-reservation 32m --memory-swap 128m --memory-swappiness 10 --oom-kill-disable', sees: `cat ${cg}/memory/memory.limit_in_bytes ${cg}/memory/memory.soft_limit_in_bytes ${cg}/memory/memory.swappiness; grep oom_kill_disable ${cg}/memory/memory.oom_control` }),
  flagCase('memory, too small', { flags: '-m 1m', refused: 'create' }),
  flagCase('memory-swap below memory', { flags: '-m 64m --memory-swap 32m', refused: 'create' }),
  flagCase('memory-swap alone', { flags: '--memory-swap 64m', refused: 'create' }),
  flagCase('memory-swap unlimited', { flags: '-m 64m --memory-swap -1' }),
  flagCase('memory-swappiness out of range', { flags: '--memory-swappiness 101', refused: 'create' }),
  flagCase('mount bind, volume, tmpfs', { flags: '--mount type=bind,source=/mnt/case/src,target=/b,readonly --mount type=volume,source=vol,target=/v,volume-label=x=y --mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700', before: ['mkdir src; echo hi > src/f'], sees: 'cat /b/f; echo x > /b/g; grep -E " /(b|v|t) " /proc/self/mountinfo | awk \'{print $5,$6}\' | sort; stat -c %a /t; df -k /t | tail -1 | awk \'{print $2}\'' }),
  flagCase('mount of what is not there', { flags: '--mount type=bind,source=/mnt/case/nosuch,target=/b', refused: 'create' }),
  flagCase('mount onto a relative path', { flags: '--mount type=volume,target=rel', refused: 'create' }),
  flagCase('mount twice onto one path', { flags: '-v one:/x -v two:/x', refused: 'create' }),
  flagCase('network none', { flags: '--network none', sees: 'ip link | grep -c :; cat /etc/hosts' }),
  flagCase('network host', { flags: '--network host --hostname h', sees: 'ls /sys/class/net | grep -c .; hostname' }),
  flagCase('network of a container', { flags: '--network container:other', before: ['docker run -d --name other -h otherhost bb:1 sleep 100'], sees: 'hostname; ip -4 addr show eth0 | grep inet' }),
  flagCase('network of a container with ports', { flags: '--network container:other -p 80:80', before: ['docker run -d --name other bb:1 sleep 100'], refused: 'create' }),
  flagCase('network unknown', { flags: '--network nosuch', refused: 'start' }),
  flagCase('network-alias in the default network', { flags: '--network-alias x', refused: 'create' }),
  flagCase('link', { flags: '--link other:alias', before: ['docker run -d --name other bb:1 sleep 100'], sees: 'grep alias /etc/hosts; env | grep ALIAS | sort' }),
  flagCase('link to what is not there', { flags: '--link nosuch:alias', refused: 'create' }),
  flagCase('link in a network', { flags: '--network shop --link other:alias', before: ['docker network create shop >/dev/null', 'docker run -d --network shop --name other bb:1 sleep 100'], sees: 'nslookup alias 2>/dev/null | grep -c Address' }),
  flagCase('oom-score-adj', { flags: '--oom-score-adj 500', sees: 'cat /proc/self/oom_score_adj' }),
  flagCase('oom-score-adj out of range', { flags: '--oom-score-adj 2000', refused: 'create' }),
  flagCase('pid host', { flags: '--pid host', sees: 'test $(ls /proc 2>/dev/null | grep -c "^[0-9]") -gt 5' }),
  flagCase('pid of a container', { flags: '--pid container:other', before: ['docker run -d --name other bb:1 sleep 1234'], sees: 'cat /proc/1/cmdline | tr "\\0" " "' }),
  flagCase('pid wrong', { flags: '--pid odd', refused: 'create' }),
  flagCase('pids-limit', { flags: '--pids-limit 50', sees: `cat ${cg}/pids/pids.max` }),
  flagCase('platform', { flags: '--platform linux/amd64' }),
  { name: 'run-flags/privileged', lines: ['docker create --name made --privileged bb:1 true >/dev/null', told.replaceAll('NAME', 'made'), "docker run --name ran --privileged bb:1 true >/dev/null 2>&1; docker inspect -f '{{.HostConfig.Privileged}} {{.State.ExitCode}}' ran"] },
  flagCase('publish', { flags: '-p 8080:80 -p 127.0.0.1:8081:81/udp -p 8090-8091:90-91', sees: 'true' }),
  flagCase('publish twice the same', { flags: '-p 8080:80', before: ['docker run -d --name other -p 8080:80 bb:1 sleep 100'], refused: 'start' }),
  flagCase('publish-all', { flags: '--publish-all --expose 80', sees: 'true' }),
  flagCase('publish wrong', { flags: '-p nonsense:80', refused: 'create' }),
  flagCase('pull never and quiet', { flags: '--pull never', sees: 'true' }),
  flagCase('quiet', { flags: '--quiet --pull missing', clients: ['28'] }),
  flagCase('read-only', { flags: '--read-only --tmpfs /t', sees: 'touch /t/x && touch /x', fails: true }),
  flagCase('restart', { flags: '--restart on-failure:1' }),
  flagCase('rm', { flags: '--rm=false', sees: 'exit 5', fails: true }),
  flagCase('runtime', { flags: '--runtime runc' }),
  flagCase('runtime unknown', { flags: '--runtime nosuch', refused: 'create' }),
  flagCase('security-opt', { flags: '--security-opt no-new-privileges --security-opt seccomp=unconfined', sees: 'grep -E "NoNew|Seccomp:" /proc/self/status' }),
  flagCase('security-opt seccomp profile', { flags: '--security-opt seccomp=p.json', before: ["echo '{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\"],\"action\":\"SCMP_ACT_ERRNO\"}]}' > p.json"], sees: 'mkdir /x', fails: true }),
  flagCase('security-opt unknown', { flags: '--security-opt odd=1', refused: 'create' }),
  flagCase('shm-size', { flags: '--shm-size 32m', sees: "df -k /dev/shm | tail -1 | awk '{print $2}'" }),
  flagCase('sig-proxy', { flags: '--stop-signal INT --stop-timeout 3' }),
  flagCase('storage-opt', { flags: '--storage-opt size=1G', refused: 'create' }),
  flagCase('sysctl', { flags: '--sysctl net.ipv4.ip_forward=1 --sysctl kernel.shmmax=12345678', sees: 'cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax' }),
  flagCase('sysctl not namespaced', { flags: '--sysctl kernel.pid_max=99', refused: 'create' }),
  flagCase('tmpfs', { flags: '--tmpfs /t:size=1m,mode=1770,noexec --tmpfs /u', sees: 'grep -E " /(t|u) " /proc/self/mountinfo | awk \'{print $5,$6}\' | sort; stat -c %a /t /u; df -k /t | tail -1 | awk \'{print $2}\'' }),
  flagCase('tty', { flags: '--tty', sees: 'tty; stty size >/dev/null; echo $TERM' }),
  flagCase('ulimit', { flags: '--ulimit nofile=100:200 --ulimit nproc=50', sees: 'ulimit -n; ulimit -Hn; ulimit -u' }),
  flagCase('ulimit unknown', { flags: '--ulimit odd=1', refused: 'create' }),
  flagCase('use-api-socket', { flags: '--use-api-socket', clients: ['28'], sees: 'ls /var/run/docker.sock' }),
  flagCase('user', { flags: '--user bob', sees: 'id; whoami; echo $HOME' }),
  flagCase('user by number', { flags: '-u 1234:77', sees: 'id; echo $HOME' }),
  flagCase('user unknown', { flags: '-u nosuch', refused: 'start' }),
  flagCase('userns', { flags: '--userns host' }),
  flagCase('userns wrong', { flags: '--userns odd', refused: 'create' }),
  flagCase('uts', { flags: '--uts host', sees: 'hostname >/dev/null' }),
  flagCase('uts wrong', { flags: '--uts odd', refused: 'create' }),
  // One bind each: client 20.10 sends several in no order.
  flagCase('volume of a host folder', { flags: '-v /mnt/case/src:/b:ro -v /anonymous', before: ['mkdir src; echo hi > src/f'], sees: 'cat /b/f; touch /b/x', fails: true }),
  flagCase('volume', { flags: '-v vol:/v:nocopy --volume-driver local', sees: 'touch /v/x' }),
  flagCase('volume of a host folder that is made', { flags: '-v /mnt/case/fresh/dir:/b', sees: 'touch /b/x' }),
  flagCase('volume wrong', { flags: '-v a:b:c:d', refused: 'create' }),
  flagCase('volume with a wrong name', { flags: '-v ./rel+x:/y', before: ['true'], refused: 'create', clients: ['20.10'] }),
  flagCase('volume-driver unknown', { flags: '--volume-driver nosuch -v vol:/v --pull never', refused: 'create' }),
  flagCase('volumes-from', { flags: '--volumes-from other:ro', before: ['docker run --name other -v data:/data -v /mnt/case:/host bb:1 sh -c "echo kept > /data/f"'], sees: 'cat /data/f; touch /data/g', fails: true }),
  flagCase('volumes-from what is not there', { flags: '--volumes-from nosuch', refused: 'create' }),
  flagCase('workdir', { flags: '-w /new/dir', sees: 'pwd' }),
  flagCase('workdir relative', { flags: '-w rel', refused: 'create' }),
  {
    name: 'run-flags/attach, cidfile, detach, detach-keys, rm, sig-proxy, help',
    lines: [
      'docker run --attach stdout --name a1 bb:1 sh -c "echo out; echo err >&2"',
      'docker run -a stderr --rm bb:1 sh -c "echo out; echo err >&2"',
      'echo typed | docker run -i -a stdin -a stdout --rm bb:1 cat',
      'docker create --attach stdout --cidfile id1 --interactive --rm --detach-keys ctrl-a --name made bb:1 true 2>/dev/null || docker create --attach stdout --cidfile id1 --interactive --rm --name made bb:1 true',
      'wc -c < id1',
      '! docker run --cidfile id1 bb:1 true',
      'docker run --detach --rm --name gone bb:1 true >/dev/null; eventually sh -c "! docker inspect gone"',
      'docker run --detach-keys ctrl-a,a --sig-proxy=false --rm bb:1 echo hi',
      '! docker run -d -a stdout bb:1 true',
      'docker run --help >/dev/null; docker create --help >/dev/null',
      '! docker run --rm --detach-keys nonsense bb:1 true',
      'docker run -d -t --name typed bb:1 sh -c "echo x; exit 0" >/dev/null; docker wait typed; docker logs typed',
    ],
  },
  {
    name: 'run-flags/exit codes',
    lines: [
      '! docker run --rm bb:1 sh -c "exit 42"', '! docker run --rm bb:1 nosuch', '! docker run --rm bb:1 /etc/passwd', '! docker run --rm bb:1 /nosuch/path', '! docker run --rm bb:1 /etc', '! docker run --rm --nosuchflag bb:1 true', '! docker run', '! docker run --rm bb:1 sh -c "sleep 100 & kill -9 \\$!; wait \\$!"',
      '! docker run --rm --pull never nosuch:1 true', '! docker run --rm --name "bad name" bb:1', '! docker run --rm -w /etc/passwd bb:1 true', '! docker run --rm --entrypoint nosuch bb:1', '! docker create --name xx bb:1 nosuch && docker start xx', 'docker create --name yy bb:1 nosuch >/dev/null; docker start yy; docker inspect -f "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}" yy',
    ],
  },
]
