/** The docker half of the command line: build, run, ps, images, logs, exec, stop, rm, rmi, pull, push, tag, load, inspect. */
import { Command } from 'commander'
import type { Endpoints } from '../program.ts'
import type { Terminal } from '../terminal.ts'
import { build, type BuildOptions } from './build.ts'
import { exportCacheMount, importCacheMount, listCacheMounts } from './cache-mounts.ts'
import { DockerConnection } from './connection.ts'
import { inspect, listContainers, type LogOptions, removeContainers, showLogs, stopContainers } from './containers.ts'
import { listImages, loadImages, pullImage, pushImage, removeImages, tagImage } from './images.ts'
import { exec, type ExecOptions, run, type RunOptions } from './run.ts'

const collect = (value: string, previous: readonly string[]): string[] => [...previous, value]

export function dockerCommands(terminal: Terminal, endpoints: Endpoints, finish: (code: number) => void): Command[] {
  const credentials = { files: endpoints.registryCredentials, ...(endpoints.credentialHelper === undefined ? {} : { helper: endpoints.credentialHelper }) }
  const withEngine = async (work: (engine: DockerConnection) => Promise<number | void>): Promise<void> => {
    const engine = new DockerConnection(endpoints.dockerSocket)
    try {
      finish((await work(engine)) ?? 0)
    } finally {
      engine.close()
    }
  }
  return [
    new Command('build')
      .description('build an image from a Dockerfile')
      .argument('[context]', 'folder with the files the Dockerfile may copy', '.')
      .option('-t, --tag <name>', 'name of the image, such as app:1.0 (repeatable)', collect, [])
      .option('-f, --file <path>', 'the Dockerfile (default: CONTEXT/Dockerfile)')
      .option('--build-arg <name=value>', 'value for an ARG (repeatable)', collect, [])
      .option('--label <key=value>', 'label of the image (repeatable)', collect, [])
      .option('--target <stage>', 'stop at this stage')
      .option('--no-cache', 'build every step anew')
      .option('--pull', 'look for newer base images')
      .option('--platform <platforms>', 'of the result, such as linux/arm64; several with commas')
      .option('--network <network>', 'of RUN: default, none, host or a network name')
      .option('--secret <spec>', 'id=NAME[,src=FILE|,env=VARIABLE] for RUN --mount=type=secret (repeatable)', collect, [])
      .option('--build-context <name=source>', 'docker-image://…, an address or a git repository (repeatable)', collect, [])
      .option('--cache-from <spec>', 'a reference, or type=registry,ref=… (repeatable)', collect, [])
      .option('--cache-to <spec>', 'type=inline or type=registry,ref=…[,mode=max] (repeatable)', collect, [])
      .option('--allow <entitlement>', 'security.insecure (repeatable)', collect, [])
      .option('-o, --output <spec>', 'FOLDER, or type=local|tar|oci|docker,dest=PATH')
      .option('--provenance <spec>', 'attest how it was built: true, false, or mode=min|max[,version=v0.2]')
      .option('--sbom <spec>', 'attest what it holds: true, false, or generator=IMAGE, the scanner')
      .option('--annotation <spec>', '[index|manifest|…[PLATFORM]:]KEY=VALUE (repeatable)', collect, [])
      .option('--push', 'push the tags when the image stands')
      .option('--check', 'only look for what is probably not meant')
      .option('--call <call>', 'build, check, outline or targets')
      .option('--shell-on-failure', "open a shell in a failed step's file system")
      .option('-q, --quiet', 'print only the image id')
      .action((context: string, options: BuildOptions) => withEngine((engine) => build(engine, terminal, context, options))),
    new Command('builder')
      .description('what builds leave for later builds')
      .addCommand(
        new Command('cache-mounts')
          .description('the folders behind RUN --mount=type=cache')
          .addCommand(new Command('ls').description('their ids').action(() => withEngine((engine) => listCacheMounts(engine, terminal))))
          .addCommand(new Command('export').argument('<id>').argument('<file>', 'a tar').action((id: string, file: string) => withEngine((engine) => exportCacheMount(engine, id, file))))
          .addCommand(new Command('import').argument('<id>').argument('<file>', 'a tar, compressed or not').action((id: string, file: string) => withEngine((engine) => importCacheMount(engine, id, file)))),
      ),
    new Command('run')
      .description('run a command in a new container')
      .argument('<image>')
      .argument('[command...]')
      .passThroughOptions()
      .option('-d, --detach', 'run in the background and print the container id')
      .option('--rm', 'remove the container when it ends')
      .option('-i, --interactive', 'keep standard input open')
      .option('-t, --tty', 'allocate a terminal')
      .option('--name <name>')
      .option('-e, --env <name=value>', 'environment variable (repeatable)', collect, [])
      .option('-p, --publish <ports>', '[[ip:]hostPort:]containerPort[/udp] (repeatable)', collect, [])
      .option('-v, --volume <volume>', 'source:target[:ro] (repeatable)', collect, [])
      .option('-l, --label <key=value>', '(repeatable)', collect, [])
      .option('-w, --workdir <path>')
      .option('-u, --user <user>', 'name or uid[:gid]')
      .option('-h, --hostname <name>')
      .option('--entrypoint <program>')
      .option('--network <network>', 'bridge, host, none, container:NAME or a network name')
      .option('-m, --memory <size>', 'such as 512m')
      .option('--cpus <number>', 'such as 1.5')
      .option('--pids-limit <number>')
      .option('--restart <policy>', 'no, always, unless-stopped or on-failure[:N]')
      .option('--health-cmd <command>', 'run in the container to see whether it is healthy')
      .option('--health-interval <duration>', 'between two checks, such as 30s')
      .option('--health-timeout <duration>', 'of one check')
      .option('--health-retries <number>', 'failures in a row that make it unhealthy')
      .option('--health-start-period <duration>', 'in which failures do not count')
      .option('--health-start-interval <duration>', 'between two checks in the start period')
      .option('--health-on-failure <action>', 'none, kill, restart or stop')
      .option('--no-healthcheck', 'ignore the health check of the image')
      .option('--log-driver <driver>', 'json-file, local, syslog, journald or none')
      .option('--log-opt <name=value>', 'such as max-size=10m, max-file=5 (repeatable)', collect, [])
      .option('--read-only', 'mount the root file system read-only')
      .action((image: string, command: string[], options: RunOptions) => withEngine((engine) => run(engine, terminal, image, command, options))),
    new Command('exec')
      .description('run a command in a running container')
      .argument('<container>')
      .argument('<command...>')
      .passThroughOptions()
      .option('-d, --detach', 'do not wait for it')
      .option('-i, --interactive', 'keep standard input open')
      .option('-t, --tty', 'allocate a terminal')
      .option('-e, --env <name=value>', '(repeatable)', collect, [])
      .option('-u, --user <user>')
      .option('-w, --workdir <path>')
      .action((container: string, command: string[], options: ExecOptions) => withEngine((engine) => exec(engine, terminal, container, command, options))),
    new Command('ps')
      .description('list containers')
      .option('-a, --all', 'also those that have ended')
      .option('-q, --quiet', 'only ids')
      .option('-o, --output <format>', 'json')
      .action((options: object) => withEngine((engine) => listContainers(engine, terminal, options))),
    new Command('logs')
      .description("show a container's output")
      .argument('<container>')
      .option('-f, --follow', 'keep showing what is added')
      .option('-n, --tail <lines>', 'only the last lines')
      .option('--since <time>')
      .option('--until <time>')
      .option('-t, --timestamps')
      .action((container: string, options: LogOptions) => withEngine((engine) => showLogs(engine, terminal, container, options))),
    new Command('stop')
      .description('stop containers: a signal, then after a grace period SIGKILL')
      .argument('<containers...>')
      .option('-t, --time <seconds>', 'grace period (default: 10)')
      .option('-s, --signal <signal>')
      .action((names: string[], options: object) => withEngine((engine) => stopContainers(engine, terminal, names, options))),
    new Command('rm')
      .description('remove containers')
      .argument('<containers...>')
      .option('-f, --force', 'kill them first')
      .option('-v, --volumes', 'remove their anonymous volumes too')
      .action((names: string[], options: object) => withEngine((engine) => removeContainers(engine, terminal, names, options))),
    new Command('images')
      .description('list images')
      .option('-a, --all')
      .option('-q, --quiet', 'only ids')
      .option('-o, --output <format>', 'json')
      .action((options: object) => withEngine((engine) => listImages(engine, terminal, options))),
    new Command('rmi')
      .description('remove images')
      .argument('<images...>')
      .option('-f, --force')
      .action((images: string[], options: { force?: boolean }) => withEngine((engine) => removeImages(engine, terminal, images, options.force === true))),
    new Command('pull')
      .description('fetch an image from a registry; only missing layers are downloaded')
      .argument('<image>')
      .action((image: string) => withEngine((engine) => pullImage(engine, terminal, image, credentials))),
    new Command('push')
      .description('send an image to a registry')
      .argument('<image>')
      .action((image: string) => withEngine((engine) => pushImage(engine, terminal, image, credentials))),
    new Command('tag')
      .description('give an image another name')
      .argument('<source>')
      .argument('<target>')
      .action((source: string, target: string) => withEngine((engine) => tagImage(engine, source, target))),
    new Command('load')
      .description('load images from an archive (docker save or OCI layout)')
      .option('-i, --input <file>', 'read this file instead of standard input')
      .action((options: { input?: string }) => withEngine((engine) => loadImages(engine, terminal, options.input))),
    new Command('inspect')
      .description('everything known about containers and images, as JSON')
      .argument('<names...>')
      .action((names: string[]) => withEngine((engine) => inspect(engine, terminal, names))),
  ]
}
