/** Mount calls, run in a kernel worker: mount(2), umount2(2), fsopen(2). */
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { errnoFault, errnoOf } from '../../contract/errno.ts'
import type { BindInsideRequest, MountEntry, MountFlag, MountRequest, OverlayRequest, ShiftedBindRequest } from '../../contract/mounts.ts'
import { check, lastErrno, libc, O_CLOEXEC } from '../libc.ts'

const MS_REMOUNT = 32
const MS_BIND = 4096
const MS_REC = 16384
const MNT_DETACH = 2
const UMOUNT_NOFOLLOW = 8

const perMount: Readonly<Partial<Record<MountFlag, number>>> = { ro: 1, nosuid: 2, nodev: 4, noexec: 8, noatime: 1024 }
const propagation: Readonly<Partial<Record<MountFlag, number>>> = {
  unbindable: 1 << 17,
  private: 1 << 18,
  rprivate: (1 << 18) | MS_REC,
  slave: 1 << 19,
  rslave: (1 << 19) | MS_REC,
  shared: 1 << 20,
  rshared: (1 << 20) | MS_REC,
}

function bits(flags: readonly MountFlag[], table: Readonly<Partial<Record<MountFlag, number>>>): number {
  return flags.reduce((all, flag) => all | (table[flag] ?? 0), 0)
}

export function mount(request: MountRequest): void {
  const { source, target, flags = [] } = request
  const what = `mount ${request.type ?? flags.join(',')} ${source} on ${target}`
  const attributes = bits(flags, perMount)
  const binds = flags.includes('bind') || flags.includes('rbind')
  const propagations = flags.filter((flag) => propagation[flag] !== undefined)
  const call = (flagBits: number): number => check(libc.mount(source, target, request.type ?? null, flagBits, request.data ?? null), what)
  if (flags.includes('remount')) call(MS_REMOUNT | (binds ? MS_BIND : 0) | attributes)
  else if (binds) bindMount(request, attributes, what)
  else if (request.type !== undefined) call(attributes)
  else if (propagations.length === 0) throw errnoFault('EINVAL', `${what}: neither a type nor bind, remount or a propagation`)
  for (const flag of propagations) check(libc.mount('none', target, null, propagation[flag] ?? 0, null), `make ${target} ${flag}`)
}

/** The kernel ignores attributes on the bind call itself; a failing second call takes the first one back. */
function bindMount(request: MountRequest, attributes: number, what: string): void {
  const recursive = request.flags?.includes('rbind') === true ? MS_REC : 0
  check(libc.mount(request.source, request.target, null, MS_BIND | recursive, null), what)
  if (attributes === 0) return
  try {
    check(libc.mount('none', request.target, null, MS_REMOUNT | MS_BIND | attributes, null), what)
  } catch (error) {
    check(libc.umount2(request.target, MNT_DETACH), `unmount ${request.target}`)
    throw error
  }
}

const O_PATH = 0o10000000
const RESOLVE_NO_MAGICLINKS = 0x02
const RESOLVE_IN_ROOT = 0x10

/** While anything on the machine is renamed or mounted the kernel may be unable to tell that `..` stays inside, and says so (openat2(2)). */
const openAttempts = 1000

function openInside(folder: number, path: string, what: string): number {
  // struct open_how: flags, mode, resolve.
  const how = new BigUint64Array([BigInt(O_PATH | O_CLOEXEC), 0n, BigInt(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)])
  for (let attempt = 1; ; attempt += 1) {
    const found = libc.openat2(folder, path, new Uint8Array(how.buffer), how.byteLength)
    if (found >= 0 || lastErrno() !== 'EAGAIN' || attempt === openAttempts) return check(found, what)
  }
}

/** The place is opened first and mounted through its descriptor: whoever swaps a link in between changes nothing. */
export function bindInside({ root, path, target, recursive = true }: BindInsideRequest): void {
  const what = `open ${path} inside ${root}`
  const folder = openSync(root, O_PATH | O_CLOEXEC)
  try {
    const found = openInside(folder, path, what)
    try {
      if (fstatSync(found).isDirectory()) mkdirSync(target, { recursive: true })
      else writeFileSync(target, '')
      check(libc.mount(`/proc/thread-self/fd/${found}`, target, null, MS_BIND | (recursive ? MS_REC : 0), null), `bind ${path} of ${root} on ${target}`)
    } finally {
      closeSync(found)
    }
  } finally {
    closeSync(folder)
  }
}

/** mount(2) takes one page of options; stay below it. */
const longestOptions = 4000

export function overlay(request: OverlayRequest): void {
  const paths = [...request.lower, request.upper ?? '', request.work ?? '']
  const options = [`lowerdir=${request.lower.join(':')}`, ...(request.options ?? [])]
  if (request.upper !== undefined) options.push(`upperdir=${request.upper}`, `workdir=${request.work ?? ''}`)
  const data = options.join(',')
  const plain = !paths.some((path) => /[,:\\]/.test(path)) && Buffer.byteLength(data) < longestOptions
  if (plain) check(libc.mount('overlay', request.target, 'overlay', 0, data), `mount overlay on ${request.target} (${data})`)
  else overlayByParts(request)
}

const FSCONFIG_SET_FLAG = 0
const FSCONFIG_SET_STRING = 1
const FSCONFIG_CMD_CREATE = 6
const FSOPEN_CLOEXEC = 1
const AT_FDCWD = -100
const MOVE_MOUNT_F_EMPTY_PATH = 4

function overlayByParts(request: OverlayRequest): void {
  const what = `mount overlay of ${request.lower.length} layers on ${request.target}`
  const context = check(libc.fsopen('overlay', FSOPEN_CLOEXEC), what)
  try {
    const set = (key: string, value: string): number => check(libc.fsconfig(context, FSCONFIG_SET_STRING, key, value, 0), `${what}: ${key}=${value}`)
    set('source', 'overlay')
    for (const layer of request.lower) set('lowerdir+', layer)
    if (request.upper !== undefined) set('upperdir', request.upper)
    if (request.work !== undefined) set('workdir', request.work)
    for (const option of request.options ?? []) {
      const [key = option, value] = option.split('=')
      if (value === undefined) check(libc.fsconfig(context, FSCONFIG_SET_FLAG, key, null, 0), `${what}: ${key}`)
      else set(key, value)
    }
    check(libc.fsconfig(context, FSCONFIG_CMD_CREATE, null, null, 0), what)
    const mounted = check(libc.fsmount(context, 1, 0), what)
    try {
      check(libc.moveMount(mounted, '', AT_FDCWD, request.target, MOVE_MOUNT_F_EMPTY_PATH), what)
    } finally {
      libc.close(mounted)
    }
  } finally {
    libc.close(context)
  }
}

const OPEN_TREE_CLONE = 1
const AT_EMPTY_PATH = 0x1000
const MOUNT_ATTR_IDMAP = 0x100000n
const MS_PRIVATE = 1n << 18n

export function bindShifted({ source, target, userNamespace }: ShiftedBindRequest): void {
  const what = `bind ${source} on ${target} with shifted owners`
  const owners = openSync(userNamespace, 'r')
  try {
    const tree = check(libc.openTree(AT_FDCWD, source, OPEN_TREE_CLONE | O_CLOEXEC), what)
    try {
      // struct mount_attr: attr_set, attr_clr, propagation, userns_fd. Private: what is mounted below the source is none of its business.
      const attributes = new BigUint64Array([MOUNT_ATTR_IDMAP, 0n, MS_PRIVATE, BigInt(owners)])
      check(libc.mountSetattr(tree, '', AT_EMPTY_PATH, new Uint8Array(attributes.buffer), attributes.byteLength), what)
      check(libc.moveMount(tree, '', AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH), what)
    } finally {
      libc.close(tree)
    }
  } finally {
    closeSync(owners)
  }
}

export function unmount(request: { readonly target: string; readonly lazy: boolean }): void {
  const flags = UMOUNT_NOFOLLOW | (request.lazy ? MNT_DETACH : 0)
  if (libc.umount2(request.target, flags) >= 0) return
  const fault = errnoFault(lastErrno(), `unmount ${request.target}`)
  // EINVAL: nothing is mounted there.
  if (!['EINVAL', 'ENOENT'].includes(errnoOf(fault) ?? '')) throw fault
}

function unescape(field: string): string {
  if (!field.includes('\\')) return field
  const bytes = Buffer.from(field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8))), 'latin1')
  return bytes.toString('utf8')
}

/** One line of mountinfo: `36 35 98:0 /root /target opts shared:1 - type source super`, see proc_pid_mountinfo(5). */
function parseMountLine(line: string): MountEntry | undefined {
  // Read as latin1 so that the octal escapes and raw bytes mix well.
  const [left = '', right = ''] = line.split(' - ')
  const [id = '', parent = '', , root = '', target = '', options = '', ...tags] = left.split(' ')
  const [type = '', source = '', superOptions = ''] = right.split(' ')
  if (target === '' || type === '') return undefined
  const shared = tags.some((tag) => tag.startsWith('shared:'))
  const slave = tags.some((tag) => tag.startsWith('master:'))
  return {
    id: Number(id),
    parentId: Number(parent),
    root: unescape(root),
    target: unescape(target),
    type: unescape(type),
    source: unescape(source),
    options: options.split(','),
    superOptions: superOptions.split(','),
    propagation: shared ? 'shared' : slave ? 'slave' : tags.includes('unbindable') ? 'unbindable' : 'private',
  }
}

export function mountTable(request: { readonly under?: string }): MountEntry[] {
  const under = request.under
  const prefix = under === undefined ? '' : under.endsWith('/') ? under : `${under}/`
  const entries: MountEntry[] = []
  for (const line of readFileSync('/proc/thread-self/mountinfo', 'latin1').split('\n')) {
    const entry = parseMountLine(line)
    if (entry === undefined) continue
    if (under === undefined || entry.target === under || entry.target.startsWith(prefix)) entries.push(entry)
  }
  return entries
}
