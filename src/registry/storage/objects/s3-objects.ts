/**
 * S3 (Amazon's API, as MinIO, Ceph, R2, Garage or versitygw speak it) through Amazon's own client, which is loaded only by who asks
 * for it: it costs 40 MB of memory. Path-style addresses, so that any host will do; whole bodies with a length, no trailing
 * checksums, since not every server knows them (each blob is checked by its digest).
 */
import type { S3Client } from '@aws-sdk/client-s3'
import { Readable } from 'node:stream'
import { Fault } from '#base/fault.ts'
import { isRecord } from '#base/json.ts'
import type { Condition, FoundObject, ListedObject, ObjectStat, ObjectStore } from './contract.ts'

export interface S3Options {
  readonly bucket: string
  /** Stands before every key, so that a bucket may hold more than one registry; empty or ends with `/`. */
  readonly prefix?: string
  /** URL of the server; Amazon's of the region by default. */
  readonly endpoint?: string
  readonly region?: string
  /** Default: Amazon's chain of environment, files and instance roles. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string }
}

type Sdk = typeof import('@aws-sdk/client-s3')

/** Opens the bucket, which must be there. `unavailable` when it does not answer. */
export async function openS3Objects(options: S3Options): Promise<ObjectStore> {
  const sdk = await import('@aws-sdk/client-s3')
  const client = new sdk.S3Client({
    region: options.region ?? 'us-east-1',
    requestHandler: { connectionTimeout: 5000, requestTimeout: 30_000 },
    forcePathStyle: options.endpoint !== undefined,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
    ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
  })
  const objects = new S3Objects(sdk, client, options)
  await objects.check()
  return objects
}

class S3Objects implements ObjectStore {
  readonly #sdk: Sdk
  readonly #client: S3Client
  readonly #bucket: string
  readonly #prefix: string

  constructor(sdk: Sdk, client: S3Client, options: S3Options) {
    this.#sdk = sdk
    this.#client = client
    this.#bucket = options.bucket
    this.#prefix = options.prefix ?? ''
  }

  #at(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + key }
  }

  async check(): Promise<void> {
    await this.#ask('look into', '', () => this.#client.send(new this.#sdk.ListObjectsV2Command({ Bucket: this.#bucket, Prefix: this.#prefix, MaxKeys: 1 })))
  }

  async get(key: string): Promise<FoundObject | undefined> {
    return await this.#unlessAbsent('read', key, async () => {
      const found = await this.#client.send(new this.#sdk.GetObjectCommand(this.#at(key)))
      const body = Buffer.from((await found.Body?.transformToByteArray()) ?? [])
      return { body, ...statOf({ ...found, Size: body.length }) }
    })
  }

  async stat(key: string): Promise<ObjectStat | undefined> {
    return await this.#unlessAbsent('look at', key, async () => {
      const found = await this.#client.send(new this.#sdk.HeadObjectCommand(this.#at(key)))
      return statOf({ ...found, Size: found.ContentLength })
    })
  }

  async open(key: string, range: { readonly start: number; readonly end: number }): Promise<Readable | undefined> {
    return await this.#unlessAbsent('read', key, async () => {
      const found = await this.#client.send(new this.#sdk.GetObjectCommand({ ...this.#at(key), Range: `bytes=${range.start}-${range.end - 1}` }))
      if (!(found.Body instanceof Readable)) throw new Fault('unavailable', `the object storage sent no body for '${key}'`)
      return found.Body
    })
  }

  async put(key: string, body: Uint8Array, condition?: Condition): Promise<boolean> {
    const holds = condition === undefined ? {} : 'absent' in condition ? { IfNoneMatch: '*' } : { IfMatch: condition.etag }
    return await this.#ask('write', key, async () => {
      try {
        await this.#client.send(new this.#sdk.PutObjectCommand({ ...this.#at(key), Body: body, ContentLength: body.length, ...holds }))
        return true
      } catch (error) {
        // 412: it does not hold; 409: another write of the same key is under way; 404: there is nothing for which it could hold.
        if (condition !== undefined && [412, 409, 404].includes(statusOf(error)) && nameOf(error) !== 'NoSuchBucket') return false
        throw error
      }
    })
  }

  async delete(key: string): Promise<void> {
    await this.#unlessAbsent('delete', key, () => this.#client.send(new this.#sdk.DeleteObjectCommand(this.#at(key))))
  }

  async *list(prefix: string, options: { readonly delimiter?: '/' } = {}): AsyncGenerator<ListedObject> {
    let from: string | undefined
    do {
      const page = await this.#ask('list', prefix, () => this.#client.send(new this.#sdk.ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: this.#prefix + prefix,
        ...(options.delimiter === undefined ? {} : { Delimiter: options.delimiter }),
        ...(from === undefined ? {} : { ContinuationToken: from }),
      })))
      const found: ListedObject[] = [
        ...(page.Contents ?? []).map((each) => ({ isPrefix: false as const, key: this.#own(each.Key), ...statOf(each) })),
        ...(page.CommonPrefixes ?? []).map((each) => ({ isPrefix: true as const, key: this.#own(each.Prefix) })),
      ]
      yield* found.sort((left, right) => (left.key < right.key ? -1 : 1))
      from = page.IsTruncated === true ? page.NextContinuationToken : undefined
    } while (from !== undefined)
  }

  #own(key: string | undefined): string {
    return (key ?? '').slice(this.#prefix.length)
  }

  async #unlessAbsent<T>(doing: string, key: string, task: () => Promise<T>): Promise<T | undefined> {
    return await this.#ask(doing, key, async () => {
      try {
        return await task()
      } catch (error) {
        if (statusOf(error) === 404) return undefined
        throw error
      }
    })
  }

  async #ask<T>(doing: string, key: string, task: () => Promise<T>): Promise<T> {
    try {
      return await task()
    } catch (error) {
      if (error instanceof Fault) throw error
      throw new Fault('unavailable', `the object storage did not ${doing} '${this.#bucket}/${this.#prefix}${key}': ${nameOf(error)}`, { cause: error })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy()
  }
}

function statOf(found: { readonly ETag?: string | undefined; readonly LastModified?: Date | undefined; readonly Size?: number | undefined }): ObjectStat {
  return { etag: found.ETag ?? '', sizeBytes: found.Size ?? 0, writtenAtMs: found.LastModified?.getTime() ?? 0 }
}

function statusOf(error: unknown): number {
  return isRecord(error) && isRecord(error['$metadata']) ? Number(error['$metadata']['httpStatusCode']) : 0
}

function nameOf(error: unknown): string {
  return error instanceof Error ? (error.name === 'Error' || error.message !== '' ? `${error.name}: ${error.message}` : error.name) : String(error)
}
