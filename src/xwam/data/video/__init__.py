"""Videos by the numbers of their frames.

reader            frames of a file, and whether they are damaged
opening           files that are no videos, in words
packet_table      which packets a file has; decoding_order: where to begin for a frame
pixels            decoded pictures into arrays
writer            arrays into mp4
"""
