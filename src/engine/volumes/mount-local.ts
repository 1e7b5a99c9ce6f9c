/** Mounts a volume of the `local` driver as its options say; a failure is told in Docker's words, without passwords. */
import { lookup } from 'node:dns/promises'
import { isIPv4 } from 'node:net'
import { getSystemErrorMap } from 'node:util'
import { Fault, isFault } from '#base/fault.ts'
import type { MountRequest, Mounts } from '#linux/contract/mounts.ts'

export async function mountLocal(request: MountRequest, mounts: Pick<Mounts, 'mount'>): Promise<void> {
  try {
    await mounts.mount(await resolved(request))
  } catch (error) {
    if (!isFault(error)) throw error
    const { source, target, data } = request
    const errno = error.details['errno']
    const reason = [...getSystemErrorMap().values()].find(([name]) => name === errno)?.[1] ?? error.message
    const options = data === undefined ? '' : `, data: ${data.replace(/password=[^,]*/, 'password=********')}`
    throw new Fault('internal', `error while mounting volume '${target}': failed to mount local volume: mount ${source}:${target}${options}: ${reason}`, { cause: error })
  }
}

/** The kernel resolves no names: the server of a network file system is given to it by address. */
async function resolved(request: MountRequest): Promise<MountRequest> {
  if (request.type !== 'nfs' && request.type !== 'cifs') return request
  const name = /(?:^|,)addr=([^,]*)/.exec(request.data ?? '')?.[1] ?? ''
  if (name === '' || isIPv4(name)) return request
  try {
    const { address } = await lookup(name)
    return { ...request, data: (request.data ?? '').replace(`addr=${name}`, `addr=${address}`) }
  } catch (error) {
    throw new Fault('internal', `error while mounting volume '${request.target}': error resolving passed in network volume address: lookup ${name}: no such host`, { cause: error })
  }
}
