/** Package URLs of images, as attestations name them (https://github.com/package-url/purl-spec, type `docker`). */
import { parsePlatform, platformText } from '#oci/platform.ts'
import { familiarName, parseReference, withDefaultTag } from '#oci/reference.ts'

/** `pkg:docker/alpine@3.17?platform=linux%2Famd64`. */
export function imagePurl(reference: string, platform: string): string {
  const parsed = withDefaultTag(parseReference(reference))
  const name = familiarName(parsed).split('/').map(encodeURIComponent).join('/')
  const qualifiers = [...(parsed.digest === undefined ? [] : [`digest=${parsed.digest}`]), `platform=${encodeURIComponent(platformText(parsePlatform(platform)))}`]
  return `pkg:docker/${name}${parsed.tag === undefined ? '' : `@${parsed.tag}`}?${qualifiers.join('&')}`
}
