/**
 * What `--log-driver` and `--log-opt` ask for, checked in dockerd's words: names when the container is created, values when it starts
 * (dockerd's json-file and local drivers). A log is bounded also where nobody asked for it: docs/decisions/0007.
 */
import { existsSync } from 'node:fs'
import { Fault } from '#base/fault.ts'
import type { Container, ContainerSpec, LogDriver } from '../contract/containers.ts'

import { addressOf, facilityOf, formatOf, syslogOptions } from './log-sinks/syslog-format.ts'

export type LogSpec = NonNullable<ContainerSpec['log']>

/** The log is rotated when it reaches `maxBytes`; with the one that is written to, at most `maxFiles` are kept. */
export interface LogBounds {
  readonly maxBytes: number
  readonly maxFiles: number
  readonly compress: boolean
}

export const logDrivers: readonly LogDriver[] = ['json-file', 'local', 'none', 'syslog', 'journald']

/** Where dockerd has none: 50 MB for each container. */
const jsonFileDefaults: LogBounds = { maxBytes: 10_000_000, maxFiles: 5, compress: false }
const localDefaults: LogBounds = { maxBytes: 20_000_000, maxFiles: 5, compress: true }

const attributeOptions: readonly string[] = ['env', 'env-regex', 'labels', 'labels-regex', 'tag']
const boundOptions: readonly string[] = ['compress', 'max-file', 'max-size']
const commonOptions: readonly string[] = ['mode', 'max-buffer-size']

/** moby's names for the bounds of the local log beside a driver that sends it elsewhere. */
const cacheOptions: readonly string[] = ['cache-compress', 'cache-disabled', 'cache-max-file', 'cache-max-size']

const ownOptions: Readonly<Record<Exclude<LogDriver, 'none'>, readonly string[]>> = {
  'json-file': [...boundOptions, ...attributeOptions],
  local: boundOptions,
  syslog: [...syslogOptions, ...cacheOptions],
  journald: [...attributeOptions, ...cacheOptions],
}

function checkSyslogOptions(options: Readonly<Record<string, string>>): void {
  const address = addressOf(options['syslog-address'])
  if ('path' in address && !existsSync(address.path)) throw invalid(`stat ${address.path}: no such file or directory`)
  facilityOf(options['syslog-facility'])
  formatOf(options['syslog-format'])
}

/** Whether `docker logs` has something to read. */
export function isReadableLog({ driver, options = {} }: LogSpec = { driver: 'json-file' }): boolean {
  return driver !== 'none' && !['1', 't', 'T', 'true', 'TRUE', 'True'].includes(options['cache-disabled'] ?? '')
}

/** What a creation refuses. */
export function checkLogOptions({ driver, options = {} }: LogSpec): void {
  if (driver === 'none') return
  const { mode = '', 'max-buffer-size': buffer } = options
  if (mode !== '' && mode !== 'blocking' && mode !== 'non-blocking') throw invalid(`logger: logging mode not supported: ${mode}`)
  if (buffer !== undefined && mode !== 'non-blocking') throw invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
  if (buffer !== undefined && bytesOf(buffer, 1024) === undefined) throw invalid(`error parsing option max-buffer-size: invalid size: '${buffer}'`)
  const known = new Set([...commonOptions, ...ownOptions[driver]])
  const unknown = Object.keys(options).find((name) => !known.has(name))
  if (unknown !== undefined) throw invalid(driver === 'local' ? `unknown log opt '${unknown}' for log driver local` : `unknown log opt '${unknown}' for ${driver} log driver`)
  if (driver === 'syslog') checkSyslogOptions(options)
}

/** What a start refuses, or the bounds to keep; undefined where nothing is logged. */
export function logBoundsOf({ driver, options = {} }: LogSpec = { driver: 'json-file' }): LogBounds | undefined {
  if (driver === 'none') return undefined
  if (driver === 'json-file') return jsonFileBounds(options)
  return localBounds(driver === 'local' ? options : Object.fromEntries(Object.entries(options).flatMap(([name, value]) => (cacheOptions.includes(name) ? [[name.replace('cache-', ''), value]] : []))))
}

function jsonFileBounds(options: Readonly<Record<string, string>>): LogBounds {
  const { 'max-size': size, 'max-file': files, compress } = options
  const maxBytes = size === undefined ? undefined : (bytesOf(size, 1000) ?? unusable(`invalid size: '${size}'`))
  if (maxBytes !== undefined && maxBytes <= 0) throw unusableFault('max-size must be a positive number')
  // As in dockerd, a size alone means one file.
  const maxFiles = files === undefined ? (maxBytes === undefined ? jsonFileDefaults.maxFiles : 1) : integerOf(files)
  if (maxFiles < 1) throw unusableFault('max-file cannot be less than 1')
  const compressed = compress !== undefined && booleanOf(compress)
  if (compressed && (files === undefined || maxFiles === 1 || maxBytes === undefined)) throw unusableFault('compress cannot be true when max-file is less than 2 or max-size is not set')
  return { maxBytes: maxBytes ?? jsonFileDefaults.maxBytes, maxFiles, compress: compressed }
}

function localBounds(options: Readonly<Record<string, string>>): LogBounds {
  const { 'max-size': size, 'max-file': files, compress } = options
  const maxBytes = size === undefined ? localDefaults.maxBytes : (bytesOf(size, 1000) ?? unusable(`invalid value for max-size: ${size}: invalid size: '${size}'`))
  const maxFiles = files === undefined ? localDefaults.maxFiles : integerOf(files, `invalid value for max-file: ${files}: `)
  const compressed = compress === undefined ? localDefaults.compress : booleanOf(compress, 'error reading compress log option: ')
  if (maxFiles < 0) throw unusableFault('max file count cannot be less than 0')
  if (compressed && maxFiles <= 1) throw unusableFault('compression cannot be enabled when max file count is 1')
  return { maxBytes: maxBytes === 0 ? localDefaults.maxBytes : maxBytes, maxFiles: Math.max(1, maxFiles), compress: compressed }
}

/** `10m`, `1.5 GB`: powers of 1000 or 1024. */
function bytesOf(text: string, unit: 1000 | 1024): number | undefined {
  const match = /^(\d+(?:\.\d+)*) ?([kmgtp])?i?b?$/i.exec(text)
  const number = Number(match?.[1])
  if (match === null || Number.isNaN(number)) return undefined
  return Math.floor(number * unit ** 'bkmgtp'.indexOf((match[2] ?? 'b').toLowerCase()))
}

function integerOf(text: string, prefix = ''): number {
  if (!/^[+-]?\d+$/.test(text)) throw unusableFault(`${prefix}strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`)
  return Number(text)
}

function booleanOf(text: string, prefix = ''): boolean {
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text)) return true
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)) return false
  throw unusableFault(`${prefix}strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`)
}

function invalid(message: string): Fault {
  return new Fault('invalidArgument', message)
}

function unusableFault(message: string): Fault {
  return new Fault('internal', `failed to initialize logging driver: ${message}`)
}

function unusable(message: string): never {
  throw unusableFault(message)
}

// ---- what each line carries (`docker logs --details`) ----------------------------------------------------------------

export interface LogSource {
  readonly id: string
  readonly name: string
  readonly imageId: string
  readonly imageName: string
  readonly effective: Pick<Container['effective'], 'args' | 'env' | 'labels'>
  /** The machine's. */
  readonly hostname: string
}

/** The labels, variables and tag that the options name. A start refuses what this refuses. */
export function logAttributesOf({ options = {} }: LogSpec, source: LogSource): Readonly<Record<string, string>> {
  const env = new Map(source.effective.env.map((line): [string, string] => [line.split('=', 1)[0] ?? line, line.slice(line.indexOf('=') + 1)]))
  const attributes = { ...picked(options, 'labels', new Map(Object.entries(source.effective.labels))), ...picked(options, 'env', env) }
  return options['tag'] ? { ...attributes, tag: logTagOf(options['tag'], source) } : attributes
}

function picked(options: Readonly<Record<string, string>>, name: 'labels' | 'env', from: ReadonlyMap<string, string>): Record<string, string> {
  const names = new Set((options[name] ?? '').split(','))
  const pattern = options[`${name}-regex`]
  const matches = pattern === undefined || pattern === '' ? undefined : expressionOf(pattern)
  return Object.fromEntries([...from].filter(([key]) => names.has(key) || matches?.test(key) === true))
}

function expressionOf(pattern: string): RegExp {
  try {
    return new RegExp(pattern)
  } catch (error) {
    throw new Fault('internal', `failed to initialize logging driver: error parsing regexp: \`${pattern}\``, { cause: error })
  }
}

/** dockerd's template fields; other Go template words are refused rather than passed over. */
export function logTagOf(template: string, source: LogSource): string {
  const digest = source.imageId.replace(/^sha256:/, '')
  const fields: Readonly<Record<string, string>> = {
    ID: source.id.slice(0, 12), FullID: source.id, Name: source.name, Command: source.effective.args.join(' '), ImageID: digest.slice(0, 12), ImageFullID: source.imageId, ImageName: source.imageName,
    Hostname: source.hostname, DaemonName: 'docker',
  }
  const text = template.replace(/\{\{\s*\.(\w+)\s*\}\}/g, (_whole, name: string, at: number) => {
    const value = Object.hasOwn(fields, name) ? fields[name] : undefined
    return value ?? unusable(`template: log-tag:1:${at + 2}: executing "log-tag" at <.${name}>: can't evaluate field ${name} in type *logger.Info`)
  })
  if (/\{\{[^}]*$/.test(template)) unusable('template: log-tag:1: unclosed action')
  const other = /\{\{(.*?)\}\}/.exec(template.replace(/\{\{\s*\.\w+\s*\}\}/g, ''))
  if (other !== null) unusable(`template: log-tag:1: '${other[1]?.trim() ?? ''}' is not supported, only {{.ID}}, {{.FullID}}, {{.Name}}, {{.Command}}, {{.ImageID}}, {{.ImageFullID}}, {{.ImageName}}, {{.Hostname}} and {{.DaemonName}}`)
  return text
}

/** As `docker logs --details` shows them: sorted, escaped as in a query. */
export function attributesText(attributes: Readonly<Record<string, string>>): string {
  const escaped = (text: string): string => encodeURIComponent(text).replace(/%20/g, '+').replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
  return Object.keys(attributes)
    .sort()
    .map((key) => `${escaped(key)}=${escaped(attributes[key] ?? '')}`)
    .join(',')
}
