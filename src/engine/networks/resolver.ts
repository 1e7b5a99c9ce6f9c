/** The host's /etc/resolv.conf (resolv.conf(5)), read when it is asked for: it changes while we run. */
import { readFile } from 'node:fs/promises'
import { systemErrorCode } from '#base/fault.ts'

export interface ResolverSettings {
  readonly nameservers: readonly string[]
  readonly search: readonly string[]
  readonly options: readonly string[]
}

export async function hostResolver(path = '/etc/resolv.conf'): Promise<ResolverSettings> {
  let text = ''
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
  }
  const words = (keyword: string): string[] =>
    text.split('\n').flatMap((line) => {
      const [first, ...rest] = line.trim().split(/\s+/)
      return first === keyword ? rest : []
    })
  return { nameservers: words('nameserver'), search: words('search'), options: words('options') }
}
