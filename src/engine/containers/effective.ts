/** What a container's spec and its image's defaults make together (Docker's rules for CMD, ENTRYPOINT, ENV, VOLUME, EXPOSE). */
import { Fault } from '#base/fault.ts'
import type { Container, ContainerMount, ContainerSpec } from '../contract/containers.ts'
import type { ContainerDefaults } from '../contract/images.ts'

export type Effective = Container['effective']

export function effectiveOf(spec: ContainerSpec, defaults: ContainerDefaults, id: string, hostHostname: string): Effective {
  const process = spec.process ?? {}
  const entrypoint = process.entrypoint ?? defaults.Entrypoint ?? []
  // An entrypoint of its own makes the image's command meaningless.
  const command = process.command ?? (process.entrypoint === undefined ? (defaults.Cmd ?? []) : [])
  return {
    args: [...entrypoint, ...command],
    entrypoint: entrypoint.length === 0 ? null : entrypoint,
    command: command.length === 0 ? null : command,
    env: mergedEnv(process.env ?? [], defaults.Env ?? []),
    workingDir: process.workingDir || defaults.WorkingDir || '',
    user: process.user || defaults.User || '',
    tty: process.tty ?? false,
    labels: { ...defaults.Labels, ...spec.labels },
    hostname: hostnameOf(spec, id, hostHostname),
    stopSignal: spec.stopSignal || defaults.StopSignal || 'SIGTERM',
    exposedPorts: [...new Set([...(spec.exposedPorts ?? []), ...Object.keys(defaults.ExposedPorts ?? {})])].map((port) => (port.includes('/') ? port : `${port}/tcp`)).sort(),
  }
}

function hostnameOf(spec: ContainerSpec, id: string, hostHostname: string): string {
  if (spec.hostname !== undefined && spec.hostname !== '') return spec.hostname
  const { network } = spec
  // Whose UTS namespace it is does not matter here, as with dockerd: beside `--uts host` alone it keeps a name of its own in files and environment.
  return network?.mode === 'host' || (network?.mode === 'sandbox' && network.netnsPath === 'host') ? hostHostname : id.slice(0, 12)
}

/** The container's own first, then what the image has and it has not. `KEY` without `=` removes the image's. */
export function mergedEnv(own: readonly string[], image: readonly string[]): string[] {
  const keyOf = (entry: string): string => entry.split('=', 1)[0] ?? entry
  const ownKeys = new Set(own.map(keyOf))
  return [...own.filter((entry) => entry.includes('=')), ...image.filter((entry) => !ownKeys.has(keyOf(entry)))]
}

export function requireCommand(effective: Effective): void {
  if (effective.args.length === 0) throw new Fault('invalidArgument', 'No command specified')
}

/** The asked-for mounts and the image's VOLUMEs that none of them covers. */
export function wantedMounts(spec: ContainerSpec, defaults: ContainerDefaults): ContainerMount[] {
  const asked = [...(spec.mounts ?? [])]
  const covered = new Set(asked.map(({ target }) => target.replace(/\/+$/, '')))
  for (const target of Object.keys(defaults.Volumes ?? {}).sort()) {
    if (!covered.has(target.replace(/\/+$/, ''))) asked.push({ type: 'volume', target, mode: '' })
  }
  for (const mount of asked) checkMount(mount)
  const targets = new Set<string>()
  for (const { target } of asked) {
    if (targets.has(target)) throw new Fault('invalidArgument', `Duplicate mount point: ${target}`)
    targets.add(target)
  }
  return asked
}

function checkMount(mount: ContainerMount): void {
  if (!mount.target.startsWith('/')) throw new Fault('invalidArgument', `invalid mount config for type "${mount.type}": invalid mount path: '${mount.target}' mount path must be absolute`)
  if (/^\/+$/.test(mount.target)) throw new Fault('invalidArgument', `invalid mount config for type "${mount.type}": invalid specification: destination can't be '/'`)
  if (mount.type === 'bind' && !mount.source.startsWith('/')) throw new Fault('invalidArgument', `invalid mount config for type "bind": invalid mount path: '${mount.source}' mount path must be absolute`)
}
