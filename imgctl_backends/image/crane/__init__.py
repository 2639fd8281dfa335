"""The second engine: images are copied by the program `crane`, as a child process.

https://github.com/google/go-containerregistry/tree/main/cmd/crane
"""
