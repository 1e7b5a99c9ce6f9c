/** `--change` of `docker import` and `docker commit`: Dockerfile instructions applied to an image's defaults. */
import { Fault } from '#base/fault.ts'
import { parseJson } from '#base/json.ts'
import type { ContainerDefaults } from '../contract/images.ts'

export function changedDefaults(defaults: ContainerDefaults, lines: readonly string[]): ContainerDefaults {
  return lines.filter((line) => line.trim() !== '').reduce(applyChange, defaults)
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
      const names = new Set(pairs.map(([name]) => name))
      return { ...defaults, Env: [...(defaults.Env ?? []).filter((entry) => !names.has(entry.split('=', 1)[0] ?? '')), ...pairs.map(([name, value]) => `${name}=${value}`)] }
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
      return { ...defaults, WorkingDir: rest }
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
