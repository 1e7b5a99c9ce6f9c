/**
 * What podman's own suites need around them to run against an engine that is not podman: a `podman` made at run time that says
 * it to the docker CLI, a door on the TCP port that the suites look for, and stand-ins for quay.io's images. Nothing of the
 * suites is changed. `PODMAN_SUITE` names a checkout of containers/podman (its `test` folder is enough).
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { join, resolve } from 'node:path'
import { runProgram } from '../../tools/instance.ts'
import { commitOf } from './side-by-side.ts'
import { standInImages, type StandInImage } from './stand-in-images.ts'

const engineSocket = '/run/docker.sock'

/** The suite's folder and commit; undefined, said in a line, where `PODMAN_SUITE` is not set. */
export function podmanSuite(driver: string): { readonly folder: string; readonly commit: string } | undefined {
  const folder = process.env['PODMAN_SUITE']
  if (folder === undefined) {
    console.log(`${driver}: skipped, PODMAN_SUITE is not set (expected the path of a checkout of containers/podman)`)
    return undefined
  }
  const noted = join(folder, 'COMMIT')
  return { folder, commit: commitOf(folder, existsSync(noted) ? readFileSync(noted, 'utf8').trim() : undefined) }
}

export function podmanImages(): readonly StandInImage[] {
  return standInImages([
    { names: ['quay.io/libpod/testimage:20241011'], command: ['/home/podman/pause'], release: 'testimage' },
    { names: ['quay.io/libpod/testimage:20221018'], command: ['/home/podman/pause'], release: 'older testimage' },
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
}

/** Writes `podman` and `htpasswd` into the folder; answers the folder for PATH. */
export function writePodman(folder: string): string {
  mkdirSync(folder, { recursive: true })
  const write = (name: string, text: string): void => {
    writeFileSync(join(folder, name), text)
    chmodSync(join(folder, name), 0o755)
  }
  write('podman', podmanScript)
  const bcrypt = resolve(import.meta.dirname, '../../node_modules/bcryptjs')
  write('htpasswd', `#!/bin/sh\n# htpasswd -Bbn USER PASSWORD\nexec ${process.execPath} -e 'const [,user,password]=process.argv;import("${bcrypt}/index.js").then((b)=>console.log(user+":"+(b.default??b).hashSync(password,4)))' "$2" "$3"\n`)
  return folder
}

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
docker() { DOCKER_BUILDKIT=0 command docker -H unix://${engineSocket} "$@"; }
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
  [[ $1 == */* ]] && exec docker -H unix://${engineSocket} rmi --no-prune "$1"
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
  if [[ $1 == rm ]]; then docker network rm "\${@: -1}"; else docker network "$@"; fi;;
commit) words=(); for word; do [[ $word == -q ]] || words+=("$word"); done; docker commit "\${words[@]}";;
init) exit 0;;
load|tag|start|pause|unpause|volume|kill|exec) docker $command "$@";;
system) [[ $1 == service ]] && exec sleep infinity; exit 125;;
*) echo "stand-in podman: $command is podman's own" >&2; exit 125;;
esac
`

/**
 * The engine on a TCP port of localhost. podman's own requests (below `libpod/`) are no part of what is judged, but the suites
 * prepare their cases with them: the same path without `libpod/` is asked, ids as podman writes them.
 */
export async function openDoor(port: number): Promise<AsyncDisposable> {
  const libpod = createHttpServer(answerLibpod)
  const sockets = new Set<Socket>()
  const door = createServer({ allowHalfOpen: true }, (client) => {
    sockets.add(client)
    client.once('close', () => sockets.delete(client))
    client.on('error', () => client.destroy())
    client.once('data', (first) => {
      client.pause()
      if (/^[A-Z]+ \/(v[\d.]+\/)?libpod\//.test(first.toString('latin1', 0, 64))) {
        client.unshift(first)
        libpod.emit('connection', client)
        process.nextTick(() => client.resume())
        return
      }
      const engine = connect({ path: engineSocket, allowHalfOpen: true })
      engine.on('error', () => client.destroy())
      engine.once('close', () => client.destroySoon())
      client.once('close', () => engine.destroy())
      engine.write(bounded(Buffer.from(first)))
      client.pipe(engine).pipe(client)
    })
  })
  await new Promise<void>((done, fail) => door.once('error', fail).listen(port, '127.0.0.1', done))
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((done) => door.close(() => done()))
    },
  }
}

/**
 * Two words that podman takes for granted and without which its suite waits for ever or ends a file half-way: `stream=false` of
 * events (Docker: `until`), and the streams of an attach that only wants the logs.
 */
function bounded(request: Buffer): Buffer {
  const line = request.toString('latin1')
  if (/^GET \S*\/events\?\S*stream=false/.test(line)) return Buffer.from(line.replace('stream=false', `until=${Math.ceil(Date.now() / 1000)}`), 'latin1')
  return /^POST \S*\/attach\?logs=true&stream=false /.test(line) ? Buffer.from(line.replace('stream=false', 'stream=false&stdout=true&stderr=true'), 'latin1') : request
}

function answerLibpod(client: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = []
  client.on('data', (chunk) => chunks.push(Buffer.from(chunk)))
  client.on('end', () => {
    const path = (client.url ?? '').replace(/^\/(v[\d.]+\/)?libpod\//, '/v1.41/').replace(/events\?(.*)stream=false/, `events?$1until=${Math.ceil(Date.now() / 1000)}`)
    const body = path.includes('/containers/create') ? dockerSpec(Buffer.concat(chunks)) : Buffer.concat(chunks)
    const name = /"name":"([^"]+)"/.exec(Buffer.concat(chunks).toString())?.[1]
    const url = path.includes('/containers/create') && name !== undefined ? `${path}${path.includes('?') ? '&' : '?'}name=${name}` : path
    const engine = request({ socketPath: engineSocket, method: client.method, path: url, headers: { 'Content-Type': client.headers['content-type'] ?? 'application/json', 'Content-Length': body.length } }, (answer) => {
      const parts: Buffer[] = []
      answer.on('data', (chunk) => parts.push(Buffer.from(chunk)))
      answer.on('end', () => {
        const type = answer.headers['content-type'] ?? 'text/plain'
        const content = Buffer.concat(parts)
        const text = type.includes('json') ? Buffer.from(content.toString().replaceAll('"Id":"sha256:', '"Id":"')) : content
        response.writeHead(answer.statusCode ?? 500, { 'Content-Type': type, Connection: 'close' })
        response.end(text)
      })
    })
    engine.on('error', () => response.destroy())
    engine.end(body)
  })
}

/** podman's spec of a container in Docker's words, where the suites give them. */
function dockerSpec(body: Buffer): Buffer {
  const spec: Record<string, unknown> = JSON.parse(body.length === 0 ? '{}' : body.toString())
  const words = { image: 'Image', command: 'Cmd', entrypoint: 'Entrypoint', env: 'Env', labels: 'Labels', terminal: 'Tty' }
  return Buffer.from(JSON.stringify(Object.fromEntries(Object.entries(words).flatMap(([from, to]) => (spec[from] === undefined ? [] : [[to, spec[from]]])))))
}
