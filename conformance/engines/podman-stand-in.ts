/**
 * What podman's own suites need around them to run against an engine that is not podman: a `podman` made at run time that says
 * it to the docker CLI, and stand-ins for quay.io's images (the door on a TCP port is `podman-door.ts`). Nothing of the
 * suites is changed. `PODMAN_SUITE` names a checkout of containers/podman (its `test` folder is enough, with the commit's id in a
 * file `COMMIT`).
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { runProgram } from '../../tools/instance.ts'
import { commitOf } from './side-by-side.ts'
import { standInImages, type StandInImage } from './stand-in-images.ts'

const engineSocket = '/run/docker.sock'

/** The real image's instructions, which the suite asks for (podman `test/system/build-testimage`). */
const testImage = {
  command: ['/bin/echo', 'This container is intended for podman CI testing'],
  workingDir: '/home/podman',
  labels: { created_at: '2024-10-11T16:56:00Z', created_by: 'test/system/build-testimage' },
  history: [
    { created_by: '/bin/sh -c #(nop) LABEL created_by=test/system/build-testimage', comment: 'FROM localhost/interim-image:latest', empty_layer: true },
    { created_by: '/bin/sh -c #(nop) LABEL created_at=2024-10-11T16:56:00Z', empty_layer: true },
    { created_by: '/bin/sh -c #(nop) WORKDIR /home/podman', empty_layer: true },
    { created_by: '/bin/sh -c #(nop) CMD ["/bin/echo", "This container is intended for podman CI testing"]' },
  ],
} as const

/** The suite's folder and commit; undefined, said in a line, where `PODMAN_SUITE` is not set. */
export function podmanSuite(driver: string): { readonly folder: string; readonly commit: string } | undefined {
  const folder = process.env['PODMAN_SUITE']
  if (folder === undefined) {
    console.log(`${driver}: skipped, PODMAN_SUITE is not set (expected the path of a checkout of containers/podman)`)
    return undefined
  }
  const noted = join(folder, 'COMMIT')
  const changed = existsSync(noted) ? '' : spawnSync('git', ['-C', folder, 'status', '--porcelain', '--', 'test/apiv2', 'test/python'], { encoding: 'utf8' }).stdout
  if (changed !== '') throw new Error(`${folder}: the tests are not those of the commit that is checked out; export a commit's into a folder and write its id into a file COMMIT there`)
  return { folder, commit: commitOf(folder, existsSync(noted) ? readFileSync(noted, 'utf8').trim() : undefined) }
}

export function podmanImages(): readonly StandInImage[] {
  return standInImages([
    { names: ['quay.io/libpod/testimage:20241011'], release: 'testimage', ...testImage },
    { names: ['quay.io/libpod/testimage:20221018'], release: 'older testimage', ...testImage },
    { names: ['quay.io/libpod/alpine:latest'], command: ['/bin/sh'], release: 'quay alpine' },
    { names: ['quay.io/libpod/busybox:latest'], command: ['sh'], release: 'quay busybox' },
    { names: ['quay.io/libpod/alpine_labels:latest'], command: ['/bin/sh'], release: 'quay alpine with labels' },
    { names: ['alpine:latest'], command: ['/bin/sh'], release: 'alpine' },
    { names: ['busybox:latest'], command: ['sh'], release: 'busybox' },
  ])
}

/** Removes what a suite's file left, images too: the suites pull what they want. Berth runs in this process, so nothing may block. */
export async function emptyEngine(): Promise<void> {
  const docker = async (...args: string[]): Promise<string[]> => {
    const { output } = await runProgram(['docker', '-H', `unix://${engineSocket}`, ...args], process.env)
    return output.split('\n').filter((line) => line !== '')
  }
  const removeAll = async (list: readonly string[], ...remove: string[]): Promise<void> => {
    if (list.length > 0) await docker(...remove, ...list)
  }
  await removeAll(await docker('ps', '-aq'), 'rm', '-fv')
  await removeAll(await docker('images', '-aq'), 'rmi', '-f')
  await removeAll(await docker('volume', 'ls', '-q'), 'volume', 'rm', '-f')
  await docker('network', 'prune', '-f')
  await docker('builder', 'prune', '-af')
}

/** Writes `podman`, `htpasswd` and `jq` into the folder; answers the folder for PATH. */
export function writePodman(folder: string): string {
  mkdirSync(folder, { recursive: true })
  const write = (name: string, text: string): void => {
    writeFileSync(join(folder, name), text)
    chmodSync(join(folder, name), 0o755)
  }
  write('podman', podmanScript)
  write('jq', jqScript)
  const bcrypt = resolve(import.meta.dirname, '../../node_modules/bcryptjs')
  write('htpasswd', `#!/bin/sh\n# htpasswd -Bbn USER PASSWORD\nexec ${process.execPath} -e 'const [,user,password]=process.argv;import("${bcrypt}/index.js").then((b)=>console.log(user+":"+(b.default??b).hashSync(password,4)))' "$2" "$3"\n`)
  return folder
}

/** jq before 1.7 knows no dot before a bracket within a path. */
const jqScript = `#!/bin/bash
words=()
for word; do [[ $word == ?*.\\[* ]] && word=$(sed -E 's/([]A-Za-z_"])\\.\\[/\\1[/g' <<<"$word"); words+=("$word"); done
export PATH=\${PATH#*:}
exec jq "\${words[@]}"
`

/** podman's command line, as far as the suites use it for set-up, in the docker CLI's words. */
const podmanScript = `#!/bin/bash
work=
while [[ $1 == --* ]]; do
  case $1 in
    --root) work=$2; shift 2;;
    --runroot|--tmpdir) shift 2;;
    *) shift;;
  esac
done
# Debian's client, of one age with Debian's dockerd; a later one refuses to ask it for a fixed address.
client=docker; [[ -x /usr/bin/docker ]] && client=/usr/bin/docker
docker() { DOCKER_BUILDKIT=0 command $client -H unix://${engineSocket} "$@"; }
all() { local list; list=$("\${@:2}"); [[ -z $list ]] || docker $1 $list; }
[[ $1 == container || $1 == image ]] && [[ $2 =~ ^(build|rm|stop|create|start|pull)$ ]] && shift
command=$1; shift
case $command in
pull)
  status=0 options=()
  while [[ $1 == -* ]]; do case $1 in --retry) shift 2;; -q) shift;; *) options+=("$1"); shift;; esac; done
  for name; do docker pull -q "\${options[@]}" "$name" || status=125; done
  exit $status;;
rm|rmi)
  everything= options=() names=()
  for word; do case $word in -af|-fa) everything=1 options+=(-f);; -a) everything=1;; -i|-t0) ;; -*) options+=("$word");; *) names+=("$word");; esac; done
  if [[ \${names[0]} == registry && -n $work ]]; then exit 0; fi
  if [[ -n $everything && $command == rm ]]; then all "rm \${options[*]}" docker ps -aq
  elif [[ -n $everything ]]; then all "rmi \${options[*]}" docker images -aq
  else docker $command "\${options[@]}" "\${names[@]}"; fi;;
untag)
  [[ $1 == */* ]] && exec $client -H unix://${engineSocket} rmi --no-prune "$1"
  docker rmi --no-prune $(docker image inspect --format '{{range .RepoTags}}{{.}} {{end}}' "$1");;
stop)
  if [[ $work == */registry/root ]]; then kill "$(cat "$work/pid")" 2>/dev/null; exit 0; fi
  words=()
  for word; do case $word in -t0) words+=(-t 0);; -i) ;; *) words+=("$word");; esac; done
  docker stop "\${words[@]}";;
run|create)
  if [[ $work == */registry/root ]]; then
    while [[ $# -gt 0 ]]; do case $1 in -e) export "\${2//\\/auth\\//$(dirname "$work")/auth/}"; shift 2;; -p) port=\${2%%:*}; shift 2;; *) shift;; esac; done
    printf 'version: 0.1\\nstorage: {filesystem: {rootdirectory: %s/data}}\\nhttp: {addr: "127.0.0.1:%s"}\\n' "$work" "$port" > "$work/config.yml"
    setsid docker-registry serve "$work/config.yml" > "$work/log" 2>&1 & echo $! > "$work/pid"
    exit 0
  fi
  before=() after=() name= more=
  while [[ $1 == -* ]]; do
    case $1 in
      --replace) docker rm -f "$(grep -oP '(?<=--name[= ])\\S+' <<<"$*")" &>/dev/null; shift;;
      --net) more=\${2#*,}; [[ $more == "$2" ]] && more=; before+=(--network "\${2%%,*}"); shift 2;;
      --entrypoint=\\[*) mapfile -t entry < <(jq -r '.[]' <<<"\${1#*=}"); before+=(--entrypoint "\${entry[0]}"); after=("\${entry[@]:1}"); shift;;
      --name|--network|--ip|--mac-address|-m|-v|-p|-e|--label) [[ $1 == --name ]] && name=$2; before+=("$1" "$2"); shift 2;;
      --name=*) name=\${1#*=}; before+=("$1"); shift;;
      *) before+=("$1"); shift;;
    esac
  done
  if [[ -n $more ]]; then
    docker create "\${before[@]/-dt/-t}" "$1" "\${after[@]}" "\${@:2}" && docker network connect "$more" "$name" && docker start "$name"
  else docker $command "\${before[@]}" "$1" "\${after[@]}" "\${@:2}"; fi;;
build)
  words=()
  for word; do [[ $word == --format=* ]] || words+=("$word"); done
  docker build "\${words[@]}" | sed s/^sha256://;;
save) docker save "$@";;
container) if [[ $1 == exists ]]; then docker container inspect "$2" >/dev/null; else docker container "$@"; fi;;
image|inspect) docker $command "$@" | sed 's/^sha256://';;
network)
  if [[ $1 == create && $2 == --opt ]]; then set -- create "\${@:4}"; fi
  if [[ $1 == rm ]]; then
    [[ $2 == -f ]] && all "rm -f" docker ps -aq --filter "network=\${@: -1}" >/dev/null
    docker network rm "\${@: -1}"
  else docker network "$@"; fi;;
commit) words=(); for word; do [[ $word == -q ]] || words+=("$word"); done; docker commit "\${words[@]}";;
init) exit 0;;
load|tag|start|pause|unpause|volume|kill|exec) docker $command "$@";;
system) [[ $1 == service ]] && exec sleep infinity; exit 125;;
*) echo "stand-in podman: $command is podman's own" >&2; exit 125;;
esac
`
