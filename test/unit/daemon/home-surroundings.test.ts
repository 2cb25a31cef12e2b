import { describe, expect, test } from 'vitest'
import { fileSystemOf, syncToolOf } from '../../../src/daemon/home-surroundings.ts'

const above = (...paths: string[]) => paths.map((path) => ({ path, names: [] as string[] }))

describe('a folder that is carried elsewhere', () => {
  test.each([
    ['/u/ada/Dropbox', 'Dropbox'],
    ['/u/ada/Dropbox (Personal)', 'Dropbox'],
    ['/u/ada/OneDrive - Contoso', 'OneDrive'],
    ['C:\\Ada\\OneDrive', 'OneDrive'],
    ['/u/ada/Library/CloudStorage/GoogleDrive-ada@example.org', 'Google Drive'],
    ['/u/ada/Library/Mobile Documents/com~apple~CloudDocs', 'iCloud Drive'],
    ['/u/ada/Nextcloud', 'Nextcloud or ownCloud'],
  ])('%s is known by its name', (path, tool) => {
    expect(syncToolOf([...above(`${path}/kevin`), ...above(path)])).toEqual({ tool, path })
  })

  test.each([
    ['.stfolder', 'Syncthing'],
    ['.git', 'git'],
    ['.dropbox.cache', 'Dropbox'],
    ['.owncloudsync.log', 'Nextcloud or ownCloud'],
    ['.sync_1a2b3c.db', 'Nextcloud or ownCloud'],
    ['.tmp.drivedownload', 'Google Drive'],
  ])('is known by %s in it', (name, tool) => {
    expect(
      syncToolOf([
        { path: '/a/b', names: [] },
        { path: '/a', names: ['notes', name] },
      ]),
    ).toEqual({ tool, path: '/a' })
  })

  test('is not seen where names are only alike', () => {
    const ancestors = above('/u/ada/.selfsame', '/u/ada', '/u/Dropboxes', '/my-nextcloud-notes')
    expect(syncToolOf([...ancestors, { path: '/', names: ['.gitignore', '.stignore', '.dropbox', 'git'] }])).toBeNull()
  })
})

describe('a file system', () => {
  const mounts = [
    'sysfs /sys sysfs rw 0 0',
    '/dev/vda / ext4 rw 0 0',
    'tmpfs /run tmpfs rw 0 0',
    'server:/vol /mnt/my\\040disk nfs4 rw 0 0',
    '/dev/vdb /mnt/my\\040disk/local xfs rw 0 0',
    'sshfs /mnt/far fuse.sshfs rw 0 0',
    '/dev/vdc /mnt/far ext4 rw 0 0',
  ].join('\n')

  test.each([
    ['/srv/kevin', 'ext4', 'lasting'],
    ['/runner/kevin', 'ext4', 'lasting'],
    ['/run/kevin', 'tmpfs', 'volatile'],
    ['/mnt/my disk/kevin', 'nfs4', 'remote'],
    ['/mnt/my disk/local/kevin', 'xfs', 'lasting'],
    ['/mnt/far', 'ext4', 'lasting'],
  ])('of %s is %s', (path, type, durability) => {
    expect(fileSystemOf(path, mounts)).toEqual({ type, durability })
  })

  test('is unknown where nothing is told', () => {
    expect(fileSystemOf('/srv', '')).toBeNull()
  })
})
