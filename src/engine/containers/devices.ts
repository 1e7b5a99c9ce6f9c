/** Device nodes that a container gets: those asked for by `--device`, and with `--privileged` all that the host has. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { ContainerSpec } from '../contract/containers.ts'
import type { DeviceSpec } from '../contract/runtime-spec.ts'

export type GrantedDevice = DeviceSpec & { readonly access: string }

const blockBit = 0o060000
const characterBit = 0o020000
const formatMask = 0o170000

/** makedev(3): the kernel's 64-bit packing. */
function majorMinor(rdev: number): { readonly major: number; readonly minor: number } {
  const value = BigInt(rdev)
  const major = Number(((value >> 8n) & 0xfffn) | ((value >> 32n) & ~0xfffn))
  const minor = Number((value & 0xffn) | ((value >> 12n) & ~0xffn & 0xffffffffn))
  return { major, minor }
}

async function deviceAt(hostPath: string, containerPath: string, access: string): Promise<GrantedDevice | undefined> {
  const { mode, rdev, uid, gid } = await stat(hostPath)
  const format = mode & formatMask
  if (format !== blockBit && format !== characterBit) return undefined
  return { type: format === blockBit ? 'b' : 'c', path: containerPath, ...majorMinor(rdev), fileMode: mode & 0o777, uid, gid, access }
}

export async function devicesOf(spec: ContainerSpec): Promise<readonly GrantedDevice[]> {
  const found: GrantedDevice[] = []
  if (spec.security?.privileged === true) found.push(...(await hostDevices('/dev')))
  for (const { hostPath, containerPath, permissions } of spec.devices ?? []) {
    try {
      const device = await deviceAt(hostPath, containerPath, permissions)
      if (device === undefined) throw new Fault('invalidArgument', `error gathering device information while adding custom device "${hostPath}": not a device node`)
      found.push(device)
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error
      throw new Fault('invalidArgument', `error gathering device information while adding custom device "${hostPath}": no such file or directory`)
    }
  }
  return found
}

/** Folders of /dev that hold no nodes of the machine but of this mount or session. */
const skipped = new Set(['pts', 'shm', 'fd', 'mqueue', '.lxc', '.lxd-mounts', '.udev', 'console'])

async function hostDevices(folder: string): Promise<GrantedDevice[]> {
  const found: GrantedDevice[] = []
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (skipped.has(entry.name)) continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) found.push(...(await hostDevices(path)))
    else if (entry.isBlockDevice() || entry.isCharacterDevice()) {
      const device = await deviceAt(path, path, 'rwm')
      if (device !== undefined) found.push(device)
    }
  }
  return found
}
