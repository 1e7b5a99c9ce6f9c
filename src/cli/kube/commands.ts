/** `berth kube …`: the kubectl verbs that a first day needs; the stock kubectl works as well. */
import { Command } from 'commander'
import type { Endpoints } from '../program.ts'
import type { Terminal } from '../terminal.ts'
import { KubeConnection } from './connection.ts'
import { describe } from './describe.ts'
import { apply, type DeleteOptions, get, type GetOptions, remove, scale, type Scope } from './objects.ts'
import { exec, type ExecOptions, logs, type LogOptions } from './pods.ts'
import { history, restart, status, undo } from './rollout.ts'

const collect = (value: string, previous: readonly string[]): string[] => [...previous, value]

/** `30s`, `5m`, `1h` → milliseconds. */
function parseTimeout(text: string | undefined): number | undefined {
  const match = /^(\d+)(s|m|h)?$/.exec(text ?? '')
  if (match === null) return undefined
  return Number(match[1]) * { s: 1000, m: 60_000, h: 3_600_000 }[match[2] === 'm' ? 'm' : match[2] === 'h' ? 'h' : 's']
}

export function kubeCommands(terminal: Terminal, endpoints: Endpoints, finish: (code: number) => void): Command {
  const withKube = async (work: (kube: KubeConnection) => Promise<number | void>): Promise<void> => {
    const kube = new KubeConnection(endpoints.kubeconfig)
    try {
      finish((await work(kube)) ?? 0)
    } finally {
      kube.close()
    }
  }
  const scoped = (command: Command): Command => command.option('-n, --namespace <name>')
  const rollout = new Command('rollout').description('watch, undo or restart a roll-out')
  scoped(rollout.command('status').description('wait until the roll-out is complete').argument('<deployment...>'))
    .option('--timeout <duration>', 'give up after this long, such as 60s')
    .action((words: string[], options: Scope & { timeout?: string }) => withKube((kube) => status(kube, terminal, words, { ...options, timeoutMs: parseTimeout(options.timeout) })))
  scoped(rollout.command('history').description('list the revisions').argument('<deployment...>')).action((words: string[], options: Scope) => withKube((kube) => history(kube, terminal, words, options)))
  scoped(rollout.command('undo').description('go back to the previous revision').argument('<deployment...>'))
    .option('--to-revision <number>')
    .action((words: string[], options: Scope & { toRevision?: string }) =>
      withKube((kube) => undo(kube, terminal, words, { ...options, toRevision: options.toRevision === undefined ? undefined : Number(options.toRevision) })),
    )
  scoped(rollout.command('restart').description('replace every pod at the usual pace').argument('<deployment...>')).action((words: string[], options: Scope) => withKube((kube) => restart(kube, terminal, words, options)))

  const kube = new Command('kube').description('work with the Kubernetes cluster').enablePositionalOptions()
  scoped(kube.command('get').description('list objects').argument('<what...>', 'such as pods, deploy/web'))
    .option('-A, --all-namespaces')
    .option('-o, --output <format>', 'wide, json, yaml or name')
    .option('-l, --selector <labels>')
    .option('--field-selector <fields>')
    .option('-w, --watch', 'keep showing changes')
    .action((words: string[], options: GetOptions) => withKube((connection) => get(connection, terminal, words, options)))
  scoped(kube.command('apply').description('make the cluster look like the manifests'))
    .requiredOption('-f, --filename <file>', 'YAML or JSON file, - for standard input (repeatable)', collect, [])
    .action((options: Scope & { filename: string[] }) => withKube((connection) => apply(connection, terminal, options.filename, options)))
  scoped(kube.command('delete').description('delete objects').argument('[what...]'))
    .option('-f, --filename <file>', 'the objects in this file (repeatable)', collect, [])
    .option('-l, --selector <labels>')
    .option('--no-wait', 'do not wait until they are gone')
    .option('--ignore-not-found')
    .option('--grace-period <seconds>')
    .action((words: string[], options: DeleteOptions) => withKube((connection) => remove(connection, terminal, words, options)))
  scoped(kube.command('describe').description('an object in full, with its events').argument('<what...>')).action((words: string[], options: Scope) =>
    withKube((connection) => describe(connection, terminal, words, options)),
  )
  scoped(kube.command('logs').description("show a pod's output").argument('<pod>', 'a pod, or deployment/NAME'))
    .option('-c, --container <name>')
    .option('-f, --follow')
    .option('-p, --previous', 'of the container before its last restart')
    .option('--tail <lines>')
    .option('--timestamps')
    .action((pod: string, options: LogOptions) => withKube((connection) => logs(connection, terminal, pod, options)))
  scoped(kube.command('exec').description('run a command in a pod').argument('<pod>').argument('<command...>', 'after --, such as -- ls -l'))
    .option('-c, --container <name>')
    .option('-i, --stdin', 'keep standard input open')
    .option('-t, --tty', 'allocate a terminal')
    .action((pod: string, command: string[], options: ExecOptions & { stdin?: boolean }) =>
      withKube((connection) => exec(connection, terminal, pod, command, { ...options, interactive: options.stdin === true })),
    )
  scoped(kube.command('scale').description('set the number of replicas').argument('<what...>'))
    .requiredOption('--replicas <number>')
    .action((words: string[], options: Scope & { replicas: string }) => withKube((connection) => scale(connection, terminal, words, Number(options.replicas), options)))
  kube.addCommand(rollout)
  return kube
}
