# SPDX-License-Identifier: Apache-2.0
"""Takes the console's 8x16 font (256 glyphs of 16 bytes, code page 437) out of a zImage: font.py ZIMAGE OUT.

The emulator reads screens with it and phoned draws its notices with it. Nothing of the font is kept in the checkout.
"""
import lzma
import sys

XZ_MAGIC = b"\xfd7zXZ\x00"
GLYPH_BYTES, GLYPHS = 16, 256
FIRST = bytes(16) + bytes.fromhex("00007e81a58181bd9981817e00000000")  # the blank and the face: glyphs 0 and 1
LETTER_A = bytes.fromhex("000010386cc6c6fec6c6c6c600000000")


def unpacked_kernel(image):
    start = image.find(XZ_MAGIC)
    while start >= 0:
        try:
            return lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(image[start:])
        except lzma.LZMAError:
            start = image.find(XZ_MAGIC, start + 1)
    sys.exit("font.py: the kernel is not compressed with xz: name its packing here")


def main():
    kernel = unpacked_kernel(open(sys.argv[1], "rb").read())
    start = kernel.find(FIRST)
    while start >= 0:
        font = kernel[start : start + GLYPHS * GLYPH_BYTES]
        if font[65 * 16 : 66 * 16] == LETTER_A:
            open(sys.argv[2], "wb").write(font)
            return
        start = kernel.find(FIRST, start + 1)
    sys.exit("font.py: no 8x16 font in this kernel")


main()
