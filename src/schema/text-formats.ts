/**
 * Formats of names, labels and addresses, with the sentence that upstream users know when one is broken
 * (Kubernetes documentation, "Object Names and IDs", "Labels and Selectors"). Each check returns undefined or the message.
 */
import { parseAddress } from '#base/ipv4.ts'
import type { StringFormat } from './field.ts'

type Check = (text: string) => string | undefined

const labelPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const subdomainPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const label1035Pattern = /^[a-z]([-a-z0-9]*[a-z0-9])?$/
const qualifiedPattern = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/
const portNamePattern = /^[-a-z0-9]+$/

const atMost = (length: number): string => `must be no more than ${length} characters`

function byPattern(pattern: RegExp, longest: number, sentence: string): Check {
  return (text) => (text.length > longest ? atMost(longest) : pattern.test(text) ? undefined : sentence)
}

const labelSentence =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
const subdomainSentence =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
const label1035Sentence =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
const nameSentence =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
const valueSentence =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"

const dnsLabel = byPattern(labelPattern, 63, labelSentence)
const dnsSubdomain = byPattern(subdomainPattern, 253, subdomainSentence)

function qualifiedName(text: string): string | undefined {
  const parts = text.split('/')
  if (parts.length > 2) return "a qualified name must consist of alphanumeric characters, '-', '_' or '.', with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
  const name = parts.at(-1) ?? ''
  const prefix = parts.length === 2 ? parts[0] : undefined
  if (prefix === '') return 'prefix part must be non-empty'
  const prefixProblem = prefix === undefined ? undefined : dnsSubdomain(prefix)
  if (prefixProblem !== undefined) return `prefix part ${prefixProblem}`
  if (name === '') return 'name part must be non-empty'
  if (name.length > 63) return `name part ${atMost(63)}`
  return qualifiedPattern.test(name) ? undefined : nameSentence
}

function portName(text: string): string | undefined {
  if (text.length > 15) return 'must be no more than 15 characters'
  if (!portNamePattern.test(text)) return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
  if (!/[a-z]/.test(text)) return 'must contain at least one letter (a-z)'
  if (text.includes('--')) return 'must not contain consecutive hyphens'
  return /^-|-$/.test(text) ? 'must not begin or end with a hyphen' : undefined
}

function envVarName(text: string): string | undefined {
  if (text.startsWith('=')) return "a valid environment variable name must not start with '='"
  return /^[ -<>-~]+$/.test(text) ? undefined : "a valid environment variable name must consist only of printable ASCII characters other than '='"
}

function configMapKey(text: string): string | undefined {
  if (text.length > 253) return atMost(253)
  if (!/^[-._a-zA-Z0-9]+$/.test(text)) {
    return "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
  }
  if (text === '.') return "must not be '.'"
  if (text === '..') return "must not be '..'"
  return text.startsWith('..') ? "must not start with '..'" : undefined
}

function isIpv4(text: string): boolean {
  return parseAddress(text) !== undefined
}

function isIpv6(text: string): boolean {
  const halves = text.split('::')
  if (halves.length > 2 || !/^[0-9a-fA-F:.]+$/.test(text)) return false
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')))
  const tail = groups.at(-1) ?? ''
  const embedded = tail.includes('.')
  if (embedded && !isIpv4(tail)) return false
  const hex = embedded ? groups.slice(0, -1) : groups
  if (!hex.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return false
  const width = hex.length + (embedded ? 2 : 0)
  return halves.length === 2 ? width <= 7 : width === 8
}

/** 4 or 6 for a literal address, else undefined. */
export function ipFamilyOf(text: string): 4 | 6 | undefined {
  if (isIpv4(text)) return 4
  return text.includes(':') && isIpv6(text) ? 6 : undefined
}

function ip(text: string): string | undefined {
  return ipFamilyOf(text) === undefined ? 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)' : undefined
}

function cidr(text: string): string | undefined {
  const [address = '', bits = '', ...rest] = text.split('/')
  const family = ipFamilyOf(address)
  const valid = family !== undefined && rest.length === 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)
  return valid ? undefined : 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'
}

const checks: { readonly [F in StringFormat]: Check } = {
  dnsLabel,
  dnsSubdomain,
  dns1035Label: byPattern(label1035Pattern, 63, label1035Sentence),
  labelKey: qualifiedName,
  qualifiedName,
  labelValue: (text) => (text === '' ? undefined : text.length > 63 ? atMost(63) : qualifiedPattern.test(text) ? undefined : valueSentence),
  ip,
  cidr,
  portName,
  envVarName,
  configMapKey,
  absolutePath: (text) => (text.startsWith('/') ? undefined : 'must be an absolute path'),
  uid: (text) => (text === '' ? 'must not be empty' : undefined),
}

/** The broken rule in upstream's words, or undefined when `text` has the format. */
export function formatProblem(format: StringFormat, text: string): string | undefined {
  return checks[format](text)
}

/** Names of objects may not be `.` or `..` nor contain `/` or `%`; RBAC names have no other rule. */
export function pathSegmentProblem(text: string): string | undefined {
  if (text === '.' || text === '..') return `may not be '${text}'`
  const found = ['/', '%'].find((mark) => text.includes(mark))
  return found === undefined ? undefined : `may not contain '${found}'`
}
