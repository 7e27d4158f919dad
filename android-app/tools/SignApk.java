import com.android.apksig.ApkSigner;
import java.io.File;
import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.List;

/** SignApk KEYSTORE PASSWORD MIN_SDK IN OUT: signs with the only key of a PKCS12 store. */
class SignApk {
    public static void main(String[] arguments) throws Exception {
        char[] password = arguments[1].toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (var in = new FileInputStream(arguments[0])) {
            store.load(in, password);
        }
        String alias = store.aliases().nextElement();
        var signer =
                new ApkSigner.SignerConfig.Builder(
                                "MOBILEKIT",
                                (PrivateKey) store.getKey(alias, password),
                                List.of((X509Certificate) store.getCertificate(alias)))
                        .build();
        new ApkSigner.Builder(List.of(signer))
                .setMinSdkVersion(Integer.parseInt(arguments[2]))
                .setInputApk(new File(arguments[3]))
                .setOutputApk(new File(arguments[4]))
                .setAlignmentPreserved(true)
                .build()
                .sign();
    }
}
