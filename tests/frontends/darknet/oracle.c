/* Runs a network with the darknet library and writes what layers hold. Built and called by make_corpus.py.
 *
 *     oracle save CFG WEIGHTS                    the weights of a new network, whose length says what the layers take
 *     oracle run CFG WEIGHTS IN OUT LAYER...     outputs of the layers, after rows, c, h, w and size of each (int32)
 *
 * The library divides by zero when it loads [deconvolutional], lacks memory for [batchnorm] on a CPU, and takes a
 * quarter of what [local] needs; all are mended here, before its own functions compute.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "darknet.h"
#ifdef ALEXEY
#define SAVE(net, path) save_weights(*(net), path)
#define PREDICT network_predict_ptr
void save_weights(network net, char *filename);
#else
#define SAVE save_weights
#define PREDICT network_predict
#endif

static float *read_floats(FILE *file, int count)
{
    float *numbers = calloc(count + 1, sizeof(float));
    if (fread(numbers, sizeof(float), count, file) != (size_t)count) exit(3);
    return numbers;
}

#ifndef ALEXEY
static void load_deconvolutional(layer *l, char *path)
{
    FILE *file = fopen(path, "rb");
    fseek(file, 20, SEEK_SET);
    memcpy(l->biases, read_floats(file, l->n), l->n * sizeof(float));
    if (l->batch_normalize) {
        memcpy(l->scales, read_floats(file, l->n), l->n * sizeof(float));
        memcpy(l->rolling_mean, read_floats(file, l->n), l->n * sizeof(float));
        memcpy(l->rolling_variance, read_floats(file, l->n), l->n * sizeof(float));
    }
    memcpy(l->weights, read_floats(file, l->nweights), l->nweights * sizeof(float));
    fclose(file);
}
#endif

int main(int argc, char **argv)
{
    int i, save = !strcmp(argv[1], "save");
    network *net = load_network(argv[2], 0, 0);
    if (save) {
        SAVE(net, argv[3]);
        return 0;
    }
#ifndef ALEXEY
    if (net->layers[0].type == DECONVOLUTIONAL) load_deconvolutional(net->layers, argv[3]);
    else load_weights(net, argv[3]);
    net->workspace = calloc(1, 1 << 24);
    for (i = 0; i < net->n; ++i) {
        layer *l = net->layers + i;
        if (l->type == BATCHNORM) l->x = calloc(l->outputs * l->batch, sizeof(float));
        if (l->type == BATCHNORM && !l->biases) l->biases = calloc(l->c, sizeof(float));
    }
#else
    load_weights(net, argv[3]);
#endif
    FILE *in = fopen(argv[4], "rb"), *out = fopen(argv[5], "wb");
    PREDICT(net, read_floats(in, net->inputs * net->batch));
    for (i = 6; i < argc; ++i) {
        layer l = net->layers[atoi(argv[i])];
        int head[5] = {net->batch, l.out_c, l.out_h, l.out_w, l.outputs};
        fwrite(head, sizeof(int), 5, out);
        fwrite(l.output, sizeof(float), (size_t)l.outputs * net->batch, out);
    }
    fclose(out);
    return 0;
}
