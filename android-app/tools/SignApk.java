import com.android.apksig.ApkSigner;
import java.io.File;
import java.io.IOException;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;

/**
 * KEYSTORE MIN_SDK IN OUT: signs with the only key of a PKCS12 or JKS store, whose password is
 * MOBILEKIT_SIGNING_PASSWORD in the environment, and tells the certificate.
 */
class SignApk {
    public static void main(String[] arguments) throws Exception {
        File file = new File(arguments[0]);
        char[] password = System.getenv("MOBILEKIT_SIGNING_PASSWORD").toCharArray();
        KeyStore store;
        try {
            store = KeyStore.getInstance(file, password);
        } catch (IOException problem) {
            fail(file + " cannot be opened: " + problem.getMessage());
            return;
        }
        List<String> aliases = Collections.list(store.aliases());
        if (aliases.size() != 1 || !(store.getKey(aliases.get(0), password) instanceof PrivateKey key)) {
            fail(file + " must have one key and nothing else; it has " + aliases);
            return;
        }
        var certificate = (X509Certificate) store.getCertificate(aliases.get(0));
        var signer = new ApkSigner.SignerConfig.Builder("MOBILEKIT", key, List.of(certificate)).build();
        new ApkSigner.Builder(List.of(signer))
                .setMinSdkVersion(Integer.parseInt(arguments[1]))
                .setInputApk(new File(arguments[2]))
                .setOutputApk(new File(arguments[3]))
                .setAlignmentPreserved(true)
                .build()
                .sign();
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(certificate.getEncoded());
        System.out.println(
                "signed by " + certificate.getSubjectX500Principal() + ", SHA-256 " + HexFormat.of().formatHex(digest));
    }

    private static void fail(String message) {
        System.err.println(message);
        System.exit(1);
    }
}
