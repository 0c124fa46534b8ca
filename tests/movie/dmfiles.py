"""Writes DM3 and DM4 files field by field, after the description of the format."""

import struct


def dm_file(image, data_type, version=4, byte_order="<", scale=0.1, unit="nm", voltage=300_000.0, thumbnail=True):
    """Bytes of a file with one image (h, w) or (t, h, w), rows from the top."""

    def length(number):
        return struct.pack(">q" if version == 4 else ">i", number)

    def entry(kind, name, body):
        extent = struct.pack(">q", len(body)) if version == 4 else b""
        return struct.pack(">BH", kind, len(name)) + name.encode("latin-1") + extent + body

    def folder(*entries):
        return b"\1\0" + length(len(entries)) + b"".join(entries)

    def value(*description, data):
        return b"%%%%" + length(len(description)) + b"".join(map(length, description)) + data

    def number(name, kind, character, given):
        return entry(21, name, value(kind, data=struct.pack(byte_order + character, given)))

    def array(name, kind, data, count):
        return entry(21, name, value(20, kind, count, data=data))

    def sub(name, *entries):
        return entry(20, name, folder(*entries))

    element = {1: 2, 2: 6, 6: 10, 7: 3, 9: 9, 10: 4, 11: 5, 12: 7, 23: 5}

    def image_entry(pixels, kind):
        sides = pixels.shape[::-1]
        data = pixels.astype(pixels.dtype.newbyteorder(byte_order)).tobytes()
        text = unit.encode("utf-16-le" if byte_order == "<" else "utf-16-be")
        return sub(
            "",
            sub(
                "ImageData",
                sub(
                    "Calibrations",
                    sub(
                        "Dimension",
                        sub("", number("Scale", 6, "f", scale), array("Units", 4, text, len(unit))),
                    ),
                ),
                array("Data", element[kind], data, pixels.size),
                number("DataType", 3, "i", kind),
                sub("Dimensions", *(number("", 5, "I", side) for side in sides)),
            ),
            sub("ImageTags", sub("Microscope Info", number("Voltage", 6, "f", voltage))),
            entry(21, "a name", value(15, 0, 2, 0, 6, 0, 8, data=struct.pack(byte_order + "fB", 1, 1))),
            entry(21, "a text", value(18, 3, data="abc".encode("utf-16-le"))),
            entry(21, "pairs", value(20, 15, 0, 2, 0, 2, 0, 2, 3, data=bytes(12))),
        )

    images = [image_entry(image[..., :4, :4], data_type)] if thumbnail else []
    root = folder(number("other", 3, "i", 5), sub("ImageList", *images, image_entry(image, data_type)))
    order = 1 if byte_order == "<" else 0
    return struct.pack(">i", version) + length(len(root)) + struct.pack(">i", order) + root + bytes(8)
