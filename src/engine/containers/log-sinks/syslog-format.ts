/** The syslog driver's options and formats, as dockerd has them: RFC 3164, RFC 5424 (framed by RFC 5425 over TLS), and the local short form. Pure. */
import { Fault } from '#base/fault.ts'

export type SyslogAddress =
  /** The machine's own: /dev/log. */
  | { readonly kind: 'local' }
  | { readonly kind: 'unix' | 'unixgram'; readonly path: string }
  | { readonly kind: 'udp' | 'tcp' | 'tcp+tls'; readonly host: string; readonly port: number }

const defaultPort = 514
const facilities = ['kern', 'user', 'mail', 'daemon', 'auth', 'syslog', 'lpr', 'news', 'uucp', 'cron', 'authpriv', 'ftp', '', '', '', '', 'local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7']
const formats = ['', 'rfc3164', 'rfc5424', 'rfc5424micro'] as const
export type SyslogFormat = (typeof formats)[number]

export const syslogOptions: readonly string[] = ['env', 'env-regex', 'labels', 'labels-regex', 'syslog-address', 'syslog-facility', 'syslog-tls-ca-cert', 'syslog-tls-cert', 'syslog-tls-key', 'syslog-tls-skip-verify', 'tag', 'syslog-format']

export function addressOf(text = ''): SyslogAddress {
  if (text === '') return { kind: 'local' }
  const [, scheme = '', rest = text] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/i.exec(text) ?? []
  switch (scheme) {
    case 'unix':
    case 'unixgram':
      return { kind: scheme, path: rest }
    case 'udp':
    case 'tcp':
    case 'tcp+tls': {
      const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:/]*))(?::(\d*))?\/?$/.exec(rest) ?? []
      const host = bracketed ?? plain
      if (host === undefined || Number(port ?? 0) > 65535) throw refuse(`address ${rest}: expected HOST or HOST:PORT`)
      return { kind: scheme, host: host === '' ? 'localhost' : host, port: port ? Number(port) : defaultPort }
    }
    default:
      throw refuse(`syslog-address should be in form proto://address, got ${text}`)
  }
}

/** 0 to 23. */
export function facilityOf(text = ''): number {
  const named = facilities.indexOf(text === '' ? 'daemon' : text)
  if (named >= 0) return named
  if (!/^\d+$/.test(text) || Number(text) > 23) throw refuse('invalid syslog facility')
  return Number(text)
}

export function formatOf(text = ''): SyslogFormat {
  const format = formats.find((known) => known === text)
  if (format === undefined) throw refuse('Invalid syslog format')
  return format
}

function refuse(message: string): Fault {
  return new Fault('invalidArgument', message)
}

export interface SyslogLine {
  readonly severity: 'err' | 'info'
  readonly timeNs: bigint
  readonly text: Buffer
}

export interface SyslogStyle {
  readonly facility: number
  readonly format: SyslogFormat
  readonly hostname: string
  readonly tag: string
  readonly pid: number
  /** RFC 5425: each message stands behind its length. */
  readonly framed: boolean
}

export function syslogMessage({ severity, timeNs, text }: SyslogLine, { facility, format, hostname, tag, pid, framed }: SyslogStyle): Buffer {
  const priority = facility * 8 + (severity === 'err' ? 3 : 6)
  const body = Buffer.concat([Buffer.from(head()), text, Buffer.from('\n')])
  return framed ? Buffer.concat([Buffer.from(`${body.length} `), body]) : body

  function head(): string {
    switch (format) {
      case '':
        return `<${priority}>${stamp(timeNs)} ${tag}[${pid}]: `
      case 'rfc3164':
        return `<${priority}>${stamp(timeNs)} ${hostname} ${tag}[${pid}]: `
      case 'rfc5424':
      case 'rfc5424micro':
        return `<${priority}>1 ${rfc3339(timeNs, format === 'rfc5424micro')} ${hostname} ${tag} ${pid} ${tag} - `
    }
  }
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** `Nov  5 09:03:07`, in the machine's zone. */
function stamp(timeNs: bigint): string {
  const date = new Date(Number(timeNs / 1_000_000n))
  return `${months[date.getMonth()]} ${String(date.getDate()).padStart(2)} ${clockText(date)}`
}

function clockText(date: Date): string {
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')
}

function two(number: number): string {
  return String(number).padStart(2, '0')
}

function rfc3339(timeNs: bigint, micro: boolean): string {
  const date = new Date(Number(timeNs / 1_000_000n))
  const offset = -date.getTimezoneOffset()
  const zone = offset === 0 ? 'Z' : `${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`
  const fraction = micro ? `.${String((timeNs / 1000n) % 1_000_000n).padStart(6, '0')}` : ''
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${clockText(date)}${fraction}${zone}`
}
