/** Platforms (OCI image-spec `image-index.md`, containerd's normal forms): what an image runs on, and which of an index fits. */
import { arch } from 'node:process'
import { Fault } from '#base/fault.ts'
import { asObject, optionalList, optionalString, readString, stringAt } from './json.ts'

export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
  readonly osVersion?: string
  readonly osFeatures?: readonly string[]
}

const architectures: Readonly<Record<string, { architecture: string; variant?: string }>> = {
  x86_64: { architecture: 'amd64' },
  'x86-64': { architecture: 'amd64' },
  x64: { architecture: 'amd64' },
  aarch64: { architecture: 'arm64' },
  armhf: { architecture: 'arm', variant: 'v7' },
  armel: { architecture: 'arm', variant: 'v6' },
  i386: { architecture: '386' },
  ia32: { architecture: '386' },
}

/** The platform of this machine. */
export const hostPlatform: Platform = normalPlatform({ os: 'linux', architecture: arch })

/** One spelling per platform: `x86_64` is amd64, arm64 stands for arm64/v8, arm for arm/v7. */
function normalPlatform(platform: Platform): Platform {
  const alias = architectures[platform.architecture.toLowerCase()]
  const architecture = alias?.architecture ?? platform.architecture.toLowerCase()
  const given = platform.variant?.toLowerCase() ?? alias?.variant
  const prefixed = given !== undefined && /^[0-9]$/.test(given) ? `v${given}` : given
  const variant = architecture === 'arm64' && prefixed === 'v8' ? undefined : architecture === 'arm' ? (prefixed ?? 'v7') : prefixed === 'v1' && architecture === 'amd64' ? undefined : prefixed
  const { variant: _dropped, ...rest } = platform
  return { ...rest, os: platform.os.toLowerCase(), architecture, ...(variant === undefined ? {} : { variant }) }
}

/** Parses `linux/arm64/v8`, `linux/amd64` or a lone architecture such as `arm64`. */
export function parsePlatform(text: string): Platform {
  const parts = text.split('/')
  const [first, second, third] = parts
  if (parts.length > 3 || first === undefined) throw new Fault('invalidArgument', `"${text}": cannot parse platform specifier: invalid argument`)
  const bad = parts.find((part) => !/^[A-Za-z0-9_.-]+$/.test(part))
  if (bad !== undefined) throw new Fault('invalidArgument', `"${bad}" is an invalid component of "${text}": platform specifier component must match "^[A-Za-z0-9_-]+$": invalid argument`)
  if (second === undefined) return normalPlatform({ os: 'linux', architecture: first })
  return normalPlatform({ os: first, architecture: second, ...(third === undefined ? {} : { variant: third }) })
}

export function isPlatform(text: string): boolean {
  return /^[A-Za-z0-9_.-]+(\/[A-Za-z0-9_.-]+){0,2}$/.test(text)
}

export function platformText(platform: Platform): string {
  return [platform.os, platform.architecture, platform.variant].filter((part) => part !== undefined).join('/')
}

/** Reads the `platform` member of a descriptor. */
export function readPlatform(value: unknown, path: string): Platform {
  const node = asObject(value, path)
  const variant = optionalString(node, 'variant')
  const osVersion = optionalString(node, 'os.version')
  const osFeatures = optionalList(node, 'os.features', readString)
  return {
    os: stringAt(node, 'os'),
    architecture: stringAt(node, 'architecture'),
    ...(variant === undefined ? {} : { variant }),
    ...(osVersion === undefined ? {} : { osVersion }),
    ...(osFeatures === undefined ? {} : { osFeatures }),
  }
}

/** The `platform` member of a descriptor, and the platform's part of a configuration. */
export function writePlatform({ os, architecture, variant, osVersion, osFeatures }: Platform): Readonly<Record<string, unknown>> {
  return { architecture, os, ...(osVersion === undefined ? {} : { 'os.version': osVersion }), ...(osFeatures === undefined ? {} : { 'os.features': osFeatures }), ...(variant === undefined ? {} : { variant }) }
}

/** How well `offered` runs where `wanted` is: 0 not at all, higher is better. An arm machine also runs lower variants. */
export function platformFit(wanted: Platform, offered: Platform): number {
  const want = normalPlatform(wanted)
  const offer = normalPlatform(offered)
  if (want.os !== offer.os || want.architecture !== offer.architecture) return 0
  if (want.variant === offer.variant) return 100
  const wantLevel = variantLevel(want)
  const offerLevel = variantLevel(offer)
  return offerLevel <= wantLevel ? 1 + offerLevel : 0
}

function variantLevel(platform: Platform): number {
  const base = platform.architecture === 'arm64' ? 8 : platform.architecture === 'amd64' ? 1 : 0
  const level = /^v([0-9]+)/.exec(platform.variant ?? '')?.[1]
  return level === undefined ? base : Number(level)
}
