/**
 * Encryption at rest: AES-256-GCM with the store's key as additional data, so that a value works only where it was written.
 * Format: `berth:aesgcm:1:` + 12 bytes nonce + 16 bytes tag + ciphertext. Values without the prefix are read as they are, so that a
 * store from before encryption opens.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { Fault } from '#base/fault.ts'
import type { Random } from '#base/random.ts'
import type { Sealer } from '../state.ts'

const magic = Buffer.from('berth:aesgcm:1:')
const nonceBytes = 12
const tagBytes = 16

export function aesSealer(key: Buffer, random: Random): Sealer {
  return {
    seal(place, plain) {
      const nonce = random.bytes(nonceBytes)
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(place))
      const sealed = Buffer.concat([cipher.update(plain), cipher.final()])
      return Buffer.concat([magic, nonce, cipher.getAuthTag(), sealed])
    },
    open(place, value) {
      if (!value.subarray(0, magic.length).equals(magic)) return value
      const nonce = value.subarray(magic.length, magic.length + nonceBytes)
      const tag = value.subarray(magic.length + nonceBytes, magic.length + nonceBytes + tagBytes)
      const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes }).setAAD(Buffer.from(place)).setAuthTag(tag)
      try {
        return Buffer.concat([decipher.update(value.subarray(magic.length + nonceBytes + tagBytes)), decipher.final()])
      } catch (cause) {
        throw new Fault('dataLoss', `${place} cannot be decrypted: the encryption key is not the one it was written with, or the value is damaged`, { cause })
      }
    },
  }
}
