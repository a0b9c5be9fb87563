/* Answers inputs with the raw deflate streams of the zlib it is built with: ../deflate.py for other versions than Python's.
 *
 * With the sources of a version in a folder Z (the last file stands in for gzlib.c in 1.2.4 to 1.2.6):
 *   cc -O2 -w -std=gnu89 -DSTDC -I Z -o driver driver.c Z/deflate.c Z/trees.c Z/adler32.c Z/crc32.c Z/zutil.c Z/compress.c \
 *     -x c - <<< 'unsigned long gzflags(void) { return 0; }'
 *   OCISTORE_PEER_ZLIB=driver cargo test --test encoders streams_are_those_of_zlib
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "zlib.h"

static const unsigned pieces[] = { 1u << 30, 1 << 14, 1 << 20, 1 << 16, 10240, 1 << 17 };

/* Reads a length and as many bytes, with a zero after them. */
static unsigned char *get(unsigned *length)
{
    unsigned char head[4], *bytes;
    if (fread(head, 1, 4, stdin) != 4)
        exit(0);
    *length = head[0] | head[1] << 8 | head[2] << 16 | (unsigned)head[3] << 24;
    bytes = calloc(1, (size_t)*length + 1);
    if (fread(bytes, 1, *length, stdin) != *length)
        exit(1);
    return bytes;
}

static int number(const char *words, const char *key, int otherwise)
{
    const char *at = strstr(words, key);
    return at ? atoi(at + strlen(key)) : otherwise;
}

static void answer(const char *words, unsigned char *plain, unsigned length, unsigned piece)
{
    z_stream stream;
    size_t room = (size_t)length + length / 4 + 100000;
    unsigned char *to = malloc(room), head[4];
    unsigned at = 0, now, i;

    memset(&stream, 0, sizeof stream);
    deflateInit2(&stream, number(words, "level=", 6), Z_DEFLATED, -15, number(words, "mem=", 8), 0);
    stream.next_out = to;
    stream.avail_out = room;
    for (; at < length; at += now) {
        now = length - at < piece ? length - at : piece;
        stream.next_in = plain + at;
        stream.avail_in = now;
        deflate(&stream, Z_NO_FLUSH);
        if (stream.avail_in != 0)
            exit(1);
    }
    while (deflate(&stream, Z_FINISH) != Z_STREAM_END)
        ;
    for (i = 0; i < 4; i++)
        head[i] = stream.total_out >> 8 * i;
    fwrite(head, 1, 4, stdout);
    fwrite(to, 1, stream.total_out, stdout);
    fflush(stdout);
    deflateEnd(&stream);
    free(to);
}

int main(void)
{
    unsigned turn, length;
    for (turn = 0;; turn++) {
        unsigned char *words = get(&length);
        unsigned char *plain = get(&length);
        answer((char *)words, plain, length, pieces[turn % 6]);
        free(words);
        free(plain);
    }
}
