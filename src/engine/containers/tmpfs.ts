/** Options of a container's tmpfs (tmpfs(5), mount(8)): safe ones first, then the user's, of which the last word on each matter counts. */
import { Fault } from '#base/fault.ts'

/** Words that settle the same matter. */
const matters: Readonly<Record<string, string>> = {
  ro: 'write', rw: 'write', suid: 'suid', nosuid: 'suid', dev: 'dev', nodev: 'dev', exec: 'exec', noexec: 'exec', sync: 'sync', async: 'sync', dirsync: 'dirsync', atime: 'atime', noatime: 'atime',
  diratime: 'diratime', nodiratime: 'diratime', relatime: 'relatime', norelatime: 'relatime', strictatime: 'strictatime', nostrictatime: 'strictatime', remount: 'remount', mand: 'mand', nomand: 'mand',
  bind: 'propagation', rbind: 'propagation', private: 'propagation', rprivate: 'propagation', shared: 'propagation', rshared: 'propagation', slave: 'propagation', rslave: 'propagation', unbindable: 'propagation', runbindable: 'propagation',
}
const valued: ReadonlySet<string> = new Set(['size', 'mode', 'uid', 'gid', 'nr_inodes', 'nr_blocks', 'mpol'])

export function tmpfsOptions(wanted: readonly string[]): string[] {
  const chosen = new Map<string, string>()
  for (const option of ['noexec', 'nosuid', 'nodev', 'rprivate', ...wanted]) {
    if (option === '' || option === 'defaults') continue
    const matter = matters[option]
    const [name = ''] = option.split('=')
    if (matter === undefined && !(option.includes('=') && valued.has(name))) throw new Fault('invalidArgument', `invalid tmpfs option "${name}"`)
    const key = matter ?? name
    chosen.delete(key)
    chosen.set(key, option)
  }
  return [...chosen.values()]
}
