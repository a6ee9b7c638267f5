"""Certificates of a test's own, made by the openssl command."""
import os
import subprocess


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    def __init__(self, directory, name="ca"):
        self.directory = directory
        self.key, self.certificate = self.path(name + ".key"), self.path(name + ".pem")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out",
                self.certificate, "-subj", f"/CN={name}", "-days", "30")

    def path(self, name):
        return os.path.join(self.directory, name)

    def issue(self, name, days=30, host="127.0.0.1", subject=None):
        """A file with the private key and the certificate, as a key store is."""
        key, request, out = self.path(name + ".key"), self.path(name + ".csr"), self.path(name + ".pem")
        extensions = self.path(name + ".ext")
        with open(extensions, "w") as f:
            f.write(f"subjectAltName=IP:{host},DNS:localhost\n")
        openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request,
                "-subj", subject or f"/O=zab/CN={name}")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                "-CAcreateserial", "-out", out, "-days", str(days), "-extfile", extensions)
        store = self.path(name + ".store.pem")
        with open(store, "w") as f:
            for part in (key, out):
                with open(part) as p:
                    f.write(p.read())
        return store

    def key_store(self, store, password):
        """The key and the certificate of `issue`, as PKCS#12."""
        out = store.replace(".pem", ".p12")
        openssl("pkcs12", "-export", "-in", store, "-out", out, "-passout", f"pass:{password}")
        return out

    def trust_store(self, password):
        """The authority's certificate, as PKCS#12 by Java's own tool."""
        out = self.path("trust.p12")
        subprocess.run(["keytool", "-importcert", "-noprompt", "-alias", "ca", "-file",
                        self.certificate, "-keystore", out, "-storetype", "PKCS12", "-storepass",
                        password], check=True, capture_output=True)
        return out
