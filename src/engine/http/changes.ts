/** `--change` of `docker import` and `docker commit`: Dockerfile instructions applied to an image's defaults. */
import { posix } from 'node:path'
import { Fault } from '#base/fault.ts'
import { parseJson } from '#base/json.ts'
import type { ContainerDefaults } from '../contract/images.ts'

export function changedDefaults(defaults: ContainerDefaults, lines: readonly string[]): ContainerDefaults {
  const wanted = lines.filter((line) => line.trim() !== '')
  const [entrypoint, command] = ['ENTRYPOINT', 'CMD'].map((word) => wanted.findIndex((line) => line.trim().toUpperCase().startsWith(`${word} `))) as [number, number]
  // As in a Dockerfile, a new entrypoint takes the old command away.
  const start: ContainerDefaults = entrypoint >= 0 && (command < 0 || command > entrypoint) ? { ...defaults, Cmd: null } : defaults
  return wanted.reduce(applyChange, start)
}

/** What `own` leaves open is as `inherited` has it; lists of variables, ports, volumes and labels are joined. A given entrypoint stands without the inherited command. */
export function mergedDefaults(own: ContainerDefaults, inherited: ContainerDefaults): ContainerDefaults {
  const env = own.Env ?? []
  const names = new Set(env.map((entry) => entry.split('=', 1)[0]))
  const entrypoint = own.Entrypoint ?? []
  return {
    ...inherited,
    ...own,
    User: own.User || (inherited.User ?? ''),
    WorkingDir: own.WorkingDir || (inherited.WorkingDir ?? ''),
    Env: [...env, ...(inherited.Env ?? []).filter((entry) => !names.has(entry.split('=', 1)[0]))],
    Labels: { ...inherited.Labels, ...own.Labels },
    ...joined('ExposedPorts', own, inherited),
    ...joined('Volumes', own, inherited),
    Entrypoint: own.Entrypoint ?? inherited.Entrypoint ?? null,
    Cmd: entrypoint.length === 0 && (own.Cmd ?? []).length === 0 ? (inherited.Cmd ?? null) : (own.Cmd ?? null),
  }
}

function joined(key: 'ExposedPorts' | 'Volumes', own: ContainerDefaults, inherited: ContainerDefaults): ContainerDefaults {
  const both = { ...inherited[key], ...own[key] }
  return Object.keys(both).length === 0 ? {} : { [key]: both }
}

function applyChange(defaults: ContainerDefaults, line: string): ContainerDefaults {
  const [, word = '', rest = ''] = /^\s*(\S+)\s*(.*?)\s*$/.exec(line) ?? []
  switch (word.toUpperCase()) {
    case 'CMD':
      return { ...defaults, Cmd: commandOf(rest) }
    case 'ENTRYPOINT':
      return { ...defaults, Entrypoint: commandOf(rest) }
    case 'ENV': {
      const pairs = pairsOf(rest)
      // A map keeps the place of a variable that gets another value.
      const values = new Map([...(defaults.Env ?? []).map((entry): [string, string] => [entry.split('=', 1)[0] ?? '', entry]), ...pairs.map(([name, value]): [string, string] => [name, `${name}=${value}`])])
      return { ...defaults, Env: [...values.values()] }
    }
    case 'LABEL':
      return { ...defaults, Labels: { ...defaults.Labels, ...Object.fromEntries(pairsOf(rest)) } }
    case 'EXPOSE':
      return { ...defaults, ExposedPorts: { ...defaults.ExposedPorts, ...Object.fromEntries(rest.split(/\s+/).map((port) => [port.includes('/') ? port : `${port}/tcp`, {}])) } }
    case 'VOLUME':
      return { ...defaults, Volumes: { ...defaults.Volumes, ...Object.fromEntries((rest.startsWith('[') ? commandOf(rest) : rest.split(/\s+/)).map((path) => [path, {}])) } }
    case 'USER':
      return { ...defaults, User: rest }
    case 'WORKDIR':
      return { ...defaults, WorkingDir: posix.resolve('/', defaults.WorkingDir ?? '', rest) }
    case 'STOPSIGNAL':
      return { ...defaults, StopSignal: rest }
    case 'ONBUILD':
      return { ...defaults, OnBuild: [...(defaults.OnBuild ?? []), rest] }
    default:
      throw new Fault('invalidArgument', `${word} is not a valid change command (CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR are)`)
  }
}

function commandOf(text: string): string[] {
  if (!text.startsWith('[')) return ['/bin/sh', '-c', text]
  const parsed = parseJson(text, `change '${text}'`)
  if (!Array.isArray(parsed) || !parsed.every((item) => typeof item === 'string')) throw new Fault('invalidArgument', `change '${text}' must be a list of strings`)
  return parsed
}

function pairsOf(text: string): [string, string][] {
  const pairs = [...text.matchAll(/([^\s=]+)=("(?:[^"\\]|\\.)*"|'[^']*'|\S*)/g)].map(([, name = '', value = '']): [string, string] => [name, value.replace(/^"(.*)"$|^'(.*)'$/s, '$1$2').replace(/\\(.)/g, '$1')])
  if (pairs.length > 0) return pairs
  const [, name = text, value = ''] = /^(\S+)\s+(.*)$/.exec(text) ?? []
  return [[name, value]]
}
