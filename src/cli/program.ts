/**
 * The `berth` command line: words and flags as users of docker and kubectl know them, help that teaches, did-you-mean.
 * Each command ends by setting the exit code; refusals are ExitErrors with docker's and kubectl's codes.
 */
import { Command, CommanderError } from 'commander'
import { Fault } from '#base/fault.ts'
import { dockerCommands } from './docker/commands.ts'
import type { CredentialHelper } from './docker/credentials.ts'
import { ExitError } from './exit.ts'
import { kubeCommands } from './kube/commands.ts'
import { print, type Terminal } from './terminal.ts'

/** Starting and stopping Berth itself: `apps/` knows how. */
export interface Lifecycle {
  up(options: { readonly detach: boolean }): Promise<number>
  down(options: { readonly keepWorkloads: boolean }): Promise<number>
  status(options: { readonly output?: string }): Promise<number>
  viewConfig(options: { readonly output?: string }): Promise<number>
  /** Serves a registry with the settings of this file until it is told to end. */
  serveRegistry(path: string): Promise<number>
  /** Has a registry remove what it no longer needs; the one of `berth up` unless another host is given. */
  collectRegistry(host: string | undefined): Promise<number>
}

export interface Endpoints {
  readonly dockerSocket: string
  readonly kubeconfig: string
  /** Files with `auths` as docker's config.json has them, most specific first. */
  readonly registryCredentials: readonly string[]
  /** Runs the credential helpers that such a file names. */
  readonly credentialHelper?: CredentialHelper
}

/** What a command hands back: its exit code. */
export type Action = () => Promise<number>

export interface Surroundings {
  readonly terminal: Terminal
  readonly endpoints: Endpoints
  readonly lifecycle: Lifecycle
  readonly version: string
}

/** Runs the command that `argv` (without interpreter and script) says and returns the exit code. */
export async function runProgram(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const { terminal } = surroundings
  let exitCode = 0
  const finish = (code: number): void => {
    exitCode = code
  }
  const program = buildProgram(surroundings, finish)
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode
    if (error instanceof ExitError) {
      if (error.message !== '') await print(terminal.stderr, `${error.message}\n`)
      return error.exitCode
    }
    if (error instanceof Fault) {
      await print(terminal.stderr, `berth: ${error.message}\n`)
      return 1
    }
    throw error
  }
}

function buildProgram(surroundings: Surroundings, finish: (code: number) => void): Command {
  const { terminal, endpoints, lifecycle, version } = surroundings
  const program = new Command('berth')
    .description('Builds, ships and runs containers: a Docker-compatible engine, an OCI registry and a Kubernetes-compatible cluster.')
    .version(version)
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({ writeOut: (text) => void terminal.stdout.write(text), writeErr: (text) => void terminal.stderr.write(text) })
    .addHelpText(
      'after',
      `
First steps:
  berth up --detach                       start the engine, the registry and the cluster
  berth build -t hello .                  build an image; pods can use it at once
  berth run --rm hello                    run a container
  berth kube apply -f app.yaml            describe the state you want; watch it come true
  berth kube get pods

The stock clients work too: 'berth status' prints DOCKER_HOST and KUBECONFIG.`,
    )
  program
    .command('up')
    .description('start Berth: engine, registry and cluster')
    .option('-d, --detach', 'return when the node is Ready and DNS answers, and keep running in the background')
    .action(async (options: { detach?: boolean }) => finish(await lifecycle.up({ detach: options.detach === true })))
  program
    .command('down')
    .description('stop Berth; containers and pods stop too, images and data stay')
    .option('--keep-workloads', 'leave containers and pods running: the next `berth up` adopts them')
    .action(async (options: { keepWorkloads?: boolean }) => finish(await lifecycle.down({ keepWorkloads: options.keepWorkloads === true })))
  program
    .command('status')
    .description('what runs, where it listens, and how to point docker and kubectl at it')
    .option('-o, --output <format>', 'json')
    .action(async (options: { output?: string }) => finish(await lifecycle.status(options)))
  program
    .command('config')
    .description('the configuration that holds')
    .command('view')
    .description('print every setting and where it came from')
    .option('-o, --output <format>', 'json')
    .action(async (options: { output?: string }) => finish(await lifecycle.viewConfig(options)))
  program.addCommand(inherit(registryCommands(lifecycle, finish)))
  program
    .command('kubeconfig')
    .description('print the kubeconfig of the cluster administrator')
    .action(async () => {
      const { readFile } = await import('node:fs/promises')
      await print(terminal.stdout, await readFile(endpoints.kubeconfig, 'utf8'))
    })
  for (const command of dockerCommands(terminal, endpoints, finish)) program.addCommand(inherit(command))
  program.addCommand(inherit(kubeCommands(terminal, endpoints, finish)))
  return program
}

function registryCommands(lifecycle: Lifecycle, finish: (code: number) => void): Command {
  const registry = new Command('registry').description('registries: serve one by itself, collect what one no longer needs')
  registry
    .command('serve')
    .description('serve a registry in the foreground; any number of them may share one storage')
    .requiredOption('-c, --config <file>', 'settings (YAML): address, tls, storage, auth, quota, mirrors, retention, webhooks')
    .addHelpText('after', `
The least there is to say, and a storage that several can share:
  storage: { folder: /srv/registry }
  storage: { s3: { bucket: images, endpoint: https://minio:9000 } }    # credentials: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY

Without auth everybody may push. 'htpasswd -B users NAME' makes a file of users for auth.htpasswd: then anybody pulls, users push.
/healthz says whether it serves, /metrics what it did.`)
    .action(async (options: { config: string }) => finish(await lifecycle.serveRegistry(options.config)))
  registry
    .command('collect')
    .alias('gc')
    .description('remove blobs, links and uploads that nothing has needed for the grace, now; pushes may go on meanwhile')
    .argument('[host]', "host:port of a registry (default: the one of 'berth up'), or its URL")
    .action(async (host: string | undefined) => finish(await lifecycle.collectRegistry(host)))
  return registry
}

/** Commands built elsewhere end like the program's own: by throwing, never by process.exit. */
function inherit(command: Command): Command {
  command.exitOverride()
  for (const child of command.commands) inherit(child)
  return command
}
